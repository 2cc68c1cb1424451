package order

// Status is the state of an order. The zero value is not a status.
type Status string

// The statuses, spelled as in the API and the database.
const (
	Pending    Status = "PENDING"
	Processing Status = "PROCESSING"
	Paid       Status = "PAID"
	Failed     Status = "FAILED"
	Cancelled  Status = "CANCELLED"
)

// Statuses returns every status, earlier ones first.
func Statuses() []Status { return []Status{Pending, Processing, Paid, Failed, Cancelled} }

// CanBecome reports whether an order may change from s to next. It is the whole state machine.
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

// Terminal reports whether an order stays in s for good.
func (s Status) Terminal() bool { return s == Paid || s == Failed || s == Cancelled }

// Valid reports whether s is one of Statuses.
func (s Status) Valid() bool { return s == Pending || s == Processing || s.Terminal() }
