package redis

import "time"

// patient is how long Redis may take to answer on a machine with too much to do.
const patient = time.Minute

// PatientLimiter is a Limiter that waits for Redis for as long as a machine with too much to do may need, so that nothing is
// counted by the process alone.
func PatientLimiter(client *Client) *Limiter {
	l := NewLimiter(client, 100)
	l.within = patient
	return l
}

// Patient makes a client wait for its probes, so that it is not taken down by a busy machine. Call it before Run.
func Patient(client *Client) { client.within = patient }

// PatientLocker is a Locker that waits for Redis likewise.
func PatientLocker(client *Client, ttl time.Duration, products *Products) *Locker {
	l := NewLocker(client, ttl, products)
	l.within = patient
	return l
}
