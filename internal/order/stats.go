package order

import "time"

// Stats are figures of a running shop, for an operator. They are counted one after the other, not at one moment.
type Stats struct {
	ByStatus          map[Status]int64 // orders; every status is there
	Due               int64            // orders that have a time at which they next need a hand
	Overdue           int64            // those of them whose time has come
	LongestOverdue    time.Duration    // of those, since when the first one waits
	FailedJobs        int64            // open ones
	Unpublished       int64            // receipts that the bus does not have yet
	OldestUnpublished time.Duration    // the age of the oldest of them
	Products          int64
	SoldOut           int64     // products without a piece left
	At                time.Time // by the database's clock
}

// FailedJobPage is one page of dead letters.
type FailedJobPage struct {
	Jobs  []FailedJob
	Total int64
}

// FailedJobOrder is a dead letter with what its order is.
type FailedJobOrder struct {
	FailedJob
	UserID   int64
	Status   Status
	Total    Money
	Currency string
}

// ProductPage is one page of products.
type ProductPage struct {
	Products       []Product
	Total, SoldOut int64 // of all pages
}

// FailedJobOrderPage is one page of dead letters with their orders.
type FailedJobOrderPage struct {
	Jobs  []FailedJobOrder
	Total int64 // of all pages
}
