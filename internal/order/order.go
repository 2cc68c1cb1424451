package order

import "time"

// MaxID is the largest id: ids travel as JSON numbers, which other languages read exactly only below 2^53.
const MaxID = 1<<53 - 1

// Order is one order with all that the database knows of it.
type Order struct {
	ID            int64
	UserID        int64
	Status        Status
	Total         Money
	Currency      string // ISO 4217
	Key           string // the idempotency key, unique for its user
	Fingerprint   Fingerprint
	PaymentMethod string // the provider's opaque token; handed to the gateway, never logged or answered
	Items         []Item // ascending by product

	Claims       int       // claims so far; only rises, and numbers them
	AttemptsLeft int       // claims that may still follow
	Lease        string    // token of the claim that works on it; "" for none. An operator's begins with a mark, see abandoning
	DueAt        time.Time // when it next needs a hand; zero for never
	Version      int       // sequence of its last event

	CancelledAt time.Time // zero unless CANCELLED
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Item is one line of an order, with the price of a piece at the time of purchase.
type Item struct {
	ProductID, Quantity int64
	UnitPrice           Money
}

// Product is something that is sold, with the pieces that are left.
type Product struct {
	ID        int64
	Name      string
	Price     Money
	Currency  string
	Stock     int64
	Active    bool // false stops its sale
	CreatedAt time.Time
}

// OrderKey names an order the way its creator does: by user and idempotency key.
type OrderKey struct {
	UserID int64
	Key    string
}

// Trace says which request an event goes back to: the trace id that the caller sees, and the W3C traceparent ("" when
// there is none).
type Trace struct{ ID, Parent string }

// Rules are the settings that decisions depend on.
type Rules struct {
	Currency        string          // of every order, ISO 4217
	PaymentAttempts int             // charges before an order is dead-lettered
	Grace           time.Duration   // how long a PENDING order may wait for the bus before the sweeper takes it
	Lease           time.Duration   // how long a claim holds
	Backoff         []time.Duration // wait before attempt 2, 3, …; the last one repeats
}

// DefaultRules returns the documented defaults.
func DefaultRules() Rules {
	return Rules{
		Currency: "USD", PaymentAttempts: 3, Grace: 10 * time.Second, Lease: 30 * time.Second,
		Backoff: []time.Duration{time.Second, 3 * time.Second, 5 * time.Second},
	}
}

// backoffAfter is the wait that follows the given number of tries used up. Fewer than 1 counts as 1: an order may have
// more tries left than there are in all, since Tries may be lowered between two starts.
func (r Rules) backoffAfter(used int) time.Duration {
	if len(r.Backoff) == 0 {
		return 0
	}
	return r.Backoff[max(1, min(used, len(r.Backoff)))-1]
}

// longestVoidWait bounds the wait between two voids of one charge: they are repeated until one is confirmed, which a
// gateway may never do.
const longestVoidWait = time.Hour

// voidBackoff is the wait after a void that was not confirmed: that of a charge while it has tries, then twice as long
// with each claim.
func (r Rules) voidBackoff(attempts int) time.Duration {
	wait := r.backoffAfter(attempts)
	for n := r.PaymentAttempts; n < attempts && wait < longestVoidWait; n++ {
		wait *= 2
	}
	return min(wait, longestVoidWait)
}

// PaymentKind says what was asked of the gateway.
type PaymentKind string

// The kinds of calls to a gateway. Refunds are recorded when a later release makes them.
const (
	KindCharge PaymentKind = "charge"
	KindVoid   PaymentKind = "void"
	KindRefund PaymentKind = "refund"
)

// Outcome says how a call to the gateway ended.
type Outcome string

// The outcomes. HandedBack is never recorded: it says that the gateway was not called.
const (
	Succeeded  Outcome = "succeeded"
	Declined   Outcome = "declined"
	NoAnswer   Outcome = "no_answer"
	HandedBack Outcome = "handed_back"
)

// Payment is the record of one attempt that called the gateway.
type Payment struct {
	OrderID   int64
	Claim     int
	Kind      PaymentKind
	Outcome   Outcome
	Reference string // the gateway's own id of it
	Error     string // why it was declined or had no answer
	Actor     string
	At        time.Time
}

// FailedJob is a dead letter: an order that used up its tries, open until an operator deals with it.
type FailedJob struct {
	ID         int64
	OrderID    int64
	Attempts   int    // claims of the order when it failed
	Error      string // what the last attempt met
	FailedAt   time.Time
	ResolvedAt time.Time // zero while open
	Resolution string    // "", "retried", "abandoning", "abandoned", "settled"
}

// User is somebody who may order.
type User struct {
	ID           int64
	Name, Email  string
	PasswordHash string
}

// ListQuery selects orders, newest first.
type ListQuery struct {
	UserID  int64  // 0 for any
	Status  Status // "" for any
	PerPage int
	Page    int   // from 1; 0 for paging by cursor
	Before  int64 // paging by cursor: only ids below; 0 from the start
}

// Page is one page of orders. By page, Total counts all that match; by cursor, More says whether another follows.
type Page struct {
	Orders []Order
	Total  int64
	More   bool
}
