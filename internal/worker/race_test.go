//go:build race

package worker

// raced says that the race detector is on.
const raced = true
