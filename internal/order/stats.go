package order

import "time"

// Stats are figures of an installation for an operator. They are counted one after the other, not in one snapshot.
type Stats struct {
	ByStatus          map[Status]int64 // orders; every status has an entry
	Due               int64            // orders with a due time
	Overdue           int64            // orders whose due time has passed
	LongestOverdue    time.Duration    // how long ago the earliest of these was due
	FailedJobs        int64            // open failed jobs
	Unpublished       int64            // outbox rows that the bus has not received
	OldestUnpublished time.Duration    // the age of the oldest of these
	Products          int64
	SoldOut           int64     // products with a stock of 0
	At                time.Time // by the database's clock
}

// BacklogMax is the largest count of a Backlog: it means "at least so many".
const BacklogMax = 10_000

// Backlog is the work that waits. It is cheap enough to be read every few seconds.
type Backlog struct {
	Pending           int           // orders that no worker has claimed
	Processing        int           // orders that are being charged, or wait for their next attempt
	FailedJobs        int           // open failed jobs
	Overdue           time.Duration // how long ago the earliest due order was due; 0 for none
	Unpublished       int           // outbox rows that are not marked as published
	OldestUnpublished time.Duration // the age of the oldest of these; 0 for none
}
