package bus

import (
	"context"
	"errors"
)

// The topics and the one group of the product.
const (
	TopicJobs          = "jobs"           // OrderCreated: orders for the workers to process
	TopicChanges       = "changes"        // OrderProcessing, OrderPaid, OrderFailed, OrderCancelled: for customers and event streams
	TopicChannelEvents = "channel-events" // events that other programs publish to Pusher channels: best effort, never in the outbox
	GroupWorkers       = "workers"        // the group of topic TopicJobs
)

// Errors of the bus.
var (
	// ErrFull means that a group is too full for the messages; see Bus.Publish.
	ErrFull = errors.New("bus: the group is full: publish again later")
	// ErrLagged means that a subscription fell behind and lost its oldest messages; see Subscription.Next.
	ErrLagged = errors.New("bus: the subscription fell behind and lost messages: read the history from the database")
	// ErrClosed means that the bus, the consumer or the subscription was closed.
	ErrClosed = errors.New("bus: closed")
)

// Message is one message of a topic. Body must not be changed after Publish.
type Message struct {
	ID          string // stable, so that a consumer can skip duplicates
	Key         string // the same for messages that belong together; adapters may partition by it
	Topic       string
	Body        []byte
	Traceparent string // W3C trace context, or empty
}

// Bus delivers messages. All methods of a Bus, a Group and a Subscription are safe for concurrent use.
type Bus interface {
	// Publish delivers the messages to every group and subscription of their topics. It keeps the bodies but not the slice,
	// and never waits for a reader. It returns ErrFull when a group cannot hold all of its messages. With
	// Features.Atomic no message was delivered in that case; otherwise some may have been. The caller publishes the whole
	// slice again later, and readers skip duplicates. A slice longer than Options.Buffer is always refused. Publish topics
	// separately if a full topic must not delay another. It returns ErrClosed after Close.
	Publish(ctx context.Context, messages []Message) error

	// Group returns a new consumer of the topic's group. The first consumer creates the group, which collects messages from
	// then on, even while it has no consumer. ErrClosed after Close.
	Group(ctx context.Context, topic, group string) (Group, error)

	// Subscribe returns a subscription to all messages published to the topic after this call. ErrClosed after Close.
	Subscribe(ctx context.Context, topic string) (Subscription, error)
}

// Group is one consumer of a group.
type Group interface {
	// Fetch waits for at least one message and returns up to limit, which must be at least 1. It returns the error of ctx
	// when ctx ends first, and ErrClosed when the consumer or the bus is closed.
	//
	// A message that is not acknowledged within Options.AckWithin is delivered again, to the next consumer of the group
	// that fetches, with a higher Attempt. After Options.Deliveries deliveries it is dead-lettered: counted, and not
	// delivered again.
	Fetch(ctx context.Context, limit int) ([]Delivery, error)

	// Ack acknowledges deliveries of this consumer, which are then not delivered again. It ignores a delivery that was
	// already acknowledged, or whose message was delivered again meanwhile. ErrClosed after Close.
	Ack(ctx context.Context, deliveries []Delivery) error

	// Close returns unacknowledged messages to the group and ends waiting calls with ErrClosed. The group stays. Closing
	// twice is not an error.
	Close() error
}

// Delivery is one delivery of a message to a consumer.
type Delivery struct {
	Message

	Attempt int    // 1 for the first delivery of the message
	Tag     uint64 // identifies the delivery within its adapter
}

// Subscription receives all messages of a topic.
type Subscription interface {
	// Next waits for at least one message and returns all that arrived since the last call. If messages were lost since then,
	// because the reader was slow and the bound was reached, it returns ErrLagged once and continues with the oldest
	// message that is left. It returns the error of ctx when ctx ends first, and ErrClosed when the subscription or the
	// bus is closed.
	Next(ctx context.Context) ([]Message, error)

	// Close ends waiting calls with ErrClosed. Closing twice is not an error.
	Close() error
}

// Depth is the fill level of a group.
type Depth struct {
	Waiting      int    // messages not fetched
	Unacked      int    // messages fetched and not acknowledged
	DeadLettered uint64 // messages dead-lettered, ever
}

// Features are the guarantees of an adapter beyond Bus.
type Features struct {
	Shared  bool // other processes publish and read too
	Durable bool // unread messages of a group outlive the process
	Atomic  bool // a refused slice was delivered to no group and no subscription
	Ordered bool // a single consumer, and a subscription, receive each publisher's messages in order, except for redeliveries
}
