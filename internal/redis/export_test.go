package redis

import "time"

// patient is the time limit of calls on a busy machine.
const patient = time.Minute

// PatientLimiter returns a Limiter that waits for Redis on a busy machine, instead of counting by itself.
func PatientLimiter(client *Client) *Limiter {
	l := NewLimiter(client, 100)
	l.within = patient
	return l
}

// Patient makes a client wait for its probes, so that a busy machine does not mark it as down. Call it before Run.
func Patient(client *Client) { client.within = patient }

// PatientLocker returns a Locker that waits for Redis likewise.
func PatientLocker(client *Client, ttl time.Duration, products *Products) *Locker {
	l := NewLocker(client, ttl, products)
	l.within = patient
	return l
}
