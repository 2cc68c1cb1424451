package order

import "time"

// BacklogMax is how far the figures of a Backlog count: a figure of so many means "at least so many".
const BacklogMax = 10_000

// Backlog is what waits for somebody to go on with it, cheap enough to be asked for every few seconds.
type Backlog struct {
	Pending           int           // orders that no worker has begun with
	Processing        int           // orders that are being charged, or wait for their next try
	FailedJobs        int           // orders that have used up their tries and wait for an operator
	Overdue           time.Duration // how long the order that is due longest has been due; 0 when none is
	Unpublished       int           // receipts of the outbox that the bus does not have, as far as the database knows
	OldestUnpublished time.Duration // the age of the oldest of them; 0 when there is none
}
