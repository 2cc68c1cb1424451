package redis

import "time"

// PatientLimiter is a Limiter that waits for Redis for as long as a machine with too much to do may need, so that nothing is
// counted by the process alone.
func PatientLimiter(client *Client) *Limiter {
	l := NewLimiter(client, 100)
	l.within = 15 * time.Second
	return l
}
