//go:build !race

package chaos

// raced says that the race detector is on; the servers are then built with it, too.
const raced = false
