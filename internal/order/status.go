package order

// Status is where an order stands in its life. The zero value is no status.
type Status string

// The statuses, spelled as the API and the database spell them.
const (
	Pending    Status = "PENDING"
	Processing Status = "PROCESSING"
	Paid       Status = "PAID"
	Failed     Status = "FAILED"
	Cancelled  Status = "CANCELLED"
)

// Statuses returns every status in the order of an order's life.
func Statuses() []Status { return []Status{Pending, Processing, Paid, Failed, Cancelled} }

// CanBecome reports whether an order in status s may change to next. It is the whole state machine: no other code
// decides it.
func (s Status) CanBecome(next Status) bool {
	switch s {
	case Pending:
		return next == Processing || next == Cancelled
	case Processing:
		return next == Paid || next == Failed
	default:
		return false
	}
}

// Terminal reports whether nothing can follow s.
func (s Status) Terminal() bool { return s == Paid || s == Failed || s == Cancelled }

// Valid reports whether s is one of Statuses.
func (s Status) Valid() bool { return s == Pending || s == Processing || s.Terminal() }
