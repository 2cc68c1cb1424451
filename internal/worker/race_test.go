//go:build race

package worker

// raced reports whether the race detector is on.
const raced = true
