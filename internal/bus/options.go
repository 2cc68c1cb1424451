package bus

import "time"

// Defaults of Options. The bounds limit memory: an order's event takes about half a kilobyte.
const (
	DefaultBuffer             = 65_536
	DefaultSubscriptionBuffer = 8_192
	DefaultAckWithin          = 30 * time.Second
	DefaultDeliveries         = 5
)

// Options are the bounds and hooks of an adapter.
type Options struct {
	Buffer             int           // most messages of a group, waiting and unacknowledged; 0 means DefaultBuffer
	SubscriptionBuffer int           // most unread messages of a subscription; 0 means DefaultSubscriptionBuffer
	AckWithin          time.Duration // time to acknowledge a delivery; 0 means DefaultAckWithin
	Deliveries         int           // most deliveries of a message; 0 means DefaultDeliveries

	// DeadLettered, if set, receives each message that was delivered Deliveries times without an acknowledgement. It is
	// called without a lock, from a goroutine of the bus or of the caller that closes a consumer.
	DeadLettered func(group string, message Message)
}

// WithDefaults returns the options with all defaults filled in; adapters call it.
func (o Options) WithDefaults() Options {
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	if o.SubscriptionBuffer <= 0 {
		o.SubscriptionBuffer = DefaultSubscriptionBuffer
	}
	if o.AckWithin <= 0 {
		o.AckWithin = DefaultAckWithin
	}
	if o.Deliveries <= 0 {
		o.Deliveries = DefaultDeliveries
	}
	if o.DeadLettered == nil {
		o.DeadLettered = func(string, Message) {}
	}
	return o
}
