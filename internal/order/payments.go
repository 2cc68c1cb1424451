package order

import "time"

// PaymentKind is the kind of a call to the gateway.
type PaymentKind string

// The kinds of calls.
const (
	KindCharge PaymentKind = "charge"
	KindVoid   PaymentKind = "void"
)

// Outcome is the outcome of a call to the gateway.
type Outcome string

// The outcomes. HandedBack means that the gateway was not called; it is never recorded.
const (
	Succeeded  Outcome = "succeeded"
	Declined   Outcome = "declined"
	NoAnswer   Outcome = "no_answer"
	HandedBack Outcome = "handed_back"
)

// Payment is the record of one call to the gateway.
type Payment struct {
	OrderID   int64
	Claim     int
	Kind      PaymentKind
	Outcome   Outcome
	Reference string // the gateway's own id
	Error     string // why the call was declined or had no answer
	Actor     string
	At        time.Time
}
