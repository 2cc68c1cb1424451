package order

import "time"

// MaxID is the largest id. Ids travel as JSON numbers, which many languages read exactly only below 2^53.
const MaxID = 1<<53 - 1

// Order is one order with everything that the database has of it.
type Order struct {
	ID            int64
	UserID        int64
	Status        Status
	Total         Money
	Currency      string // ISO 4217
	Key           string // the idempotency key, unique for its user
	Fingerprint   Fingerprint
	PaymentMethod string // the provider's opaque token; sent to the gateway, never logged or returned
	Items         []Item // ascending by product

	Claims       int       // claims so far; numbers them and never falls
	AttemptsLeft int       // payment attempts that may still follow
	Lease        string    // token of the current claim; "" for none. An operator's begins with abandonMark
	DueAt        time.Time // when the order next needs processing; zero for never
	Version      int       // sequence of its last event

	CancelledAt time.Time // zero unless CANCELLED
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Item is one line of an order, with the price of one unit at the time of purchase.
type Item struct {
	ProductID, Quantity int64
	UnitPrice           Money
}

// OrderKey identifies an order by its user and idempotency key.
type OrderKey struct {
	UserID int64
	Key    string
}

// Trace identifies the request that caused an event: by the trace id that the caller sees, and by the W3C traceparent ("" for
// none).
type Trace struct{ ID, Parent string }
