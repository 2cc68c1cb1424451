package bus

import (
	"context"
	"errors"
)

// The topics and the one group of the product.
const (
	TopicJobs          = "work"    // OrderCreated: what the workers have to do
	TopicChanges       = "news"    // OrderPaid, OrderFailed, OrderCancelled, OrderProcessing: what customers hear and streams wake on
	TopicChannelEvents = "pushed"  // what other programs publish to subscribers: best effort, never owed
	GroupWorkers       = "workers" // the group of topic TopicJobs
)

// Errors of the bus.
var (
	// ErrFull says that a group has no room for the messages; see Bus.Publish.
	ErrFull = errors.New("bus: a group has no room; publish again later")
	// ErrLagged says that a tail fell behind and lost its oldest messages; see Subscription.Next.
	ErrLagged = errors.New("bus: the tail fell behind and lost messages; read what you missed elsewhere")
	// ErrClosed says that the bus, the consumer or the tail has been closed.
	ErrClosed = errors.New("bus: closed")
)

// Message is what travels. The bus keeps it as it is; nobody writes to Body once it is published.
type Message struct {
	ID          string // stable: whoever gets it twice skips by it
	Key         string // messages that belong together have the same; adapters that partition do so by it
	Topic       string
	Body        []byte
	Traceparent string // W3C trace context, or empty
}

// Bus carries messages. Its methods, and those of what they return, may be called from any goroutine.
type Bus interface {
	// Publish hands the messages to every group and tail of their topics. It does not keep the slice, only the bodies,
	// and never waits for a reader. When a group's bound leaves no room for all that comes to it, it returns ErrFull:
	// where Features.Atomic holds nobody has got anything then, elsewhere some may have; so the whole slice is
	// published again later, and readers skip what they have seen. A slice longer than the bound never finds room. Who
	// does not want a full topic to hold another one back publishes them apart. ErrClosed after Close.
	Publish(ctx context.Context, messages []Message) error

	// Group returns a new consumer of the topic's group. The group begins with its first consumer and gathers messages
	// from then on, also while it has none. ErrClosed after Close.
	Group(ctx context.Context, topic, group string) (Group, error)

	// Subscription returns a reader of all that is published to the topic after this call. ErrClosed after Close.
	Subscribe(ctx context.Context, topic string) (Subscription, error)
}

// Group is one consumer of a group.
type Group interface {
	// Fetch waits for at least one message and returns up to limit, which must be at least 1. It returns ctx's error
	// when that ends first, and ErrClosed when the consumer or the bus is closed.
	//
	// What is fetched must be acknowledged in time (Options.AckWithin) or comes again, to whichever consumer of the
	// group fetches next, with a higher Attempt. After Options.Deliveries of them it is set aside: delivered no more,
	// and counted.
	Fetch(ctx context.Context, limit int) ([]Delivery, error)

	// Ack says that the deliveries, fetched by this consumer, are done and must not come again. One that has come
	// again meanwhile, or is acknowledged twice, is passed over. ErrClosed after Close.
	Ack(ctx context.Context, deliveries []Delivery) error

	// Close gives back what is not acknowledged, which comes again to others, and ends waiting calls with ErrClosed.
	// The group stays. Closing twice is no error.
	Close() error
}

// Delivery is a message handed to a consumer.
type Delivery struct {
	Message

	Attempt int    // 1 the first time; higher when it was delivered before
	Tag     uint64 // names the delivery to the adapter that made it; means nothing to others
}

// Subscription reads all that is published to a topic.
type Subscription interface {
	// Next waits for at least one message and returns all that have come since. When some were lost since the last
	// call, because the reader was slow and the bound reached, it returns ErrLagged once, and then goes on with the
	// oldest that it has. It returns ctx's error when that ends first, and ErrClosed when the tail or the bus is closed.
	Next(ctx context.Context) ([]Message, error)

	// Close ends waiting calls with ErrClosed. Closing twice is no error.
	Close() error
}

// Depth is how full a group is.
type Depth struct {
	Waiting      int    // messages not fetched
	Unacked      int    // messages fetched and not acknowledged
	DeadLettered uint64 // messages set aside, ever
}

// Features says what an adapter promises beyond Bus.
type Features struct {
	Shared  bool // other processes publish and read too
	Durable bool // what a group has not read outlives the process
	Atomic  bool // a slice that is refused has reached nobody
	Ordered bool // a consumer alone in its group, and a tail, get each publisher's messages in order; redeliveries apart
}
