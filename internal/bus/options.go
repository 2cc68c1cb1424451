package bus

import "time"

// What Options are where they say nothing. The bounds are on memory: an order's event takes about half a kilobyte.
const (
	DefaultBuffer     = 65_536
	DefaultTail       = 8_192
	DefaultAckWithin  = 30 * time.Second
	DefaultDeliveries = 5
)

// Options are the bounds and hooks of an adapter.
type Options struct {
	Buffer     int           // messages a group holds at most, waiting and unacknowledged; 0 counts as DefaultBuffer
	Tail       int           // messages a tail holds at most; 0 counts as DefaultTail
	AckWithin  time.Duration // time to acknowledge a delivery in; 0 counts as DefaultAckWithin
	Deliveries int           // how often a message is delivered at most; 0 counts as DefaultDeliveries

	// DeadLettered, if set, is told of each message that was delivered Deliveries times and never acknowledged. It is
	// called from a goroutine of the bus or of whoever closes a consumer, under no lock.
	SetAside func(group string, message Message)
}

// WithDefaults returns the options with defaults where they say nothing, for adapters.
func (o Options) WithDefaults() Options {
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	if o.Tail <= 0 {
		o.Tail = DefaultTail
	}
	if o.AckWithin <= 0 {
		o.AckWithin = DefaultAckWithin
	}
	if o.Deliveries <= 0 {
		o.Deliveries = DefaultDeliveries
	}
	if o.SetAside == nil {
		o.SetAside = func(string, Message) {}
	}
	return o
}
