package app

import "syscall"

const (
	connectionsMax = 100_000 // whatever the descriptors allow
	reserved       = 64      // descriptors for the database, the logs and what else a process needs
)

// maxConnections is how many clients may be connected: as many as there are descriptors left when every charge has one too.
// Otherwise idle clients could keep the payments from reaching their gateway.
func maxConnections(charges int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 2*connectionsMax {
		return connectionsMax
	}
	return max(1, min(connectionsMax, int(limit.Cur)-charges-reserved))
}
