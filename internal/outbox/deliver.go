package outbox

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

const (
	// bite is how many events go out in one Publish, save that a receipt is never split: small enough that a bus with
	// a little room takes some of a long queue instead of refusing it all.
	bite = 1024

	// deliverLimit bounds the delivery of all that waited, so that a bus which does not answer holds up neither a
	// shutdown nor the receipts behind it for long.
	deliverLimit = 5 * time.Second
)

// PublishedMarker is where paid receipts are reported.
type PublishedMarker interface {
	// MarkPaid remembers that these receipts need no further publishing. It neither blocks nor fails: a mark that gets
	// lost means that the relay publishes once more.
	MarkPublished(receiptIDs []string)
}

// courier publishes receipts; the Publisher and the Relay have one each.
type courier struct {
	bus     bus.Bus
	debts   PublishedMarker
	metrics *metrics
	tracer  tracing.Tracer
}

// deliver publishes the receipts in bites and reports those paid. It returns how many went out whole, and why the
// others did not: those stay owed. It does not end with ctx, so that a shutdown cuts nothing in half, and it goes on
// after a bite that was refused: a full topic of work must not hold up the news.
func (c *courier) deliver(ctx context.Context, receipts []order.EventBatch) (delivered int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deliverLimit)
	defer cancel()
	for len(receipts) > 0 {
		count, events := 0, 0
		for count < len(receipts) && (count == 0 || events+len(receipts[count].Events) <= bite) {
			events += len(receipts[count].Events)
			count++
		}
		went, fault := c.deliverBite(ctx, receipts[:count], events)
		delivered += went
		if err == nil {
			err = fault // one bus refuses all bites for one reason; the first tells it
		}
		receipts = receipts[count:]
	}
	return delivered, err
}

// deliverBite publishes a few receipts, each topic by itself, and reports those of which every event went out.
func (c *courier) deliverBite(ctx context.Context, receipts []order.EventBatch, events int) (delivered int, err error) {
	work, news := loads(receipts, events)
	owed := make([]bool, len(receipts))
	workErr := c.publish(ctx, bus.TopicJobs, work, 0, len(receipts), owed)
	newsErr := c.publish(ctx, bus.TopicChanges, news, 0, len(receipts), owed)

	paid := make([]string, 0, len(receipts))
	for i, receipt := range receipts {
		if owed[i] {
			continue
		}
		delivered++
		if receipt.ID != "" {
			paid = append(paid, receipt.ID)
		}
	}
	if len(paid) > 0 {
		c.debts.MarkPublished(paid)
	}
	return delivered, errors.Join(workErr, newsErr)
}

// publish hands one topic's messages of the receipts from first up to last to the bus, and marks as owed those that it
// did not take. When there is no room for all of them it halves: there may be room for some, and a slice that is longer
// than the bus's bound would never find any.
func (c *courier) publish(ctx context.Context, topic string, l load, first, last int, owed []bool) error {
	messages := l.of(first, last)
	if len(messages) == 0 {
		return nil
	}
	err := ctx.Err()
	if err == nil {
		publishing, spans := c.tracer.Batch(ctx, "publish", tracing.Producer, len(messages), func(i int) string { return messages[i].Traceparent })
		err = c.bus.Publish(publishing, messages)
		spans.End(err)
	}
	if err == nil {
		c.metrics.published.WithLabelValues(topic).Add(float64(len(messages)))
		return nil
	}
	if errors.Is(err, bus.ErrFull) && last-first > 1 {
		middle := first + (last-first)/2
		left := c.publish(ctx, topic, l, first, middle, owed)
		right := c.publish(ctx, topic, l, middle, last, owed)
		return cmp.Or(left, right) // one reason is enough
	}
	c.metrics.refused.WithLabelValues(topic).Add(float64(len(messages)))
	for i := first; i < last; i++ {
		owed[i] = owed[i] || len(l.of(i, i+1)) > 0
	}
	return err
}

// load is one topic's messages of some receipts.
type load struct {
	messages []bus.Message
	ends     []int // where the messages of each receipt end
}

// of returns the messages of the receipts from first up to last.
func (l load) of(first, last int) []bus.Message {
	start := 0
	if first > 0 {
		start = l.ends[first-1]
	}
	return l.messages[start:l.ends[last-1]]
}

// topicOf says who has to hear of an event: an order that is new is work, everything else is news.
func topicOf(t order.EventType) string {
	if t == order.OrderCreated {
		return bus.TopicJobs
	}
	return bus.TopicChanges
}

// eventSize is about what an event takes on the bus, in bytes: a guess that spares growing the buffer.
const eventSize = 256

// loads turns the events into messages, by topic, in their order. All bodies lie in one buffer, since they leave the bus
// in about the order in which they came.
func loads(receipts []order.EventBatch, events int) (work, news load) {
	buffer := make([]byte, 0, events*eventSize)
	work.ends, news.ends = make([]int, len(receipts)), make([]int, len(receipts))
	for i, receipt := range receipts {
		for _, event := range receipt.Events {
			start := len(buffer)
			buffer = event.Append(buffer)
			id := event.ID()
			key, _, _ := strings.Cut(id, "-")
			message := bus.Message{
				ID: id, Key: key, Topic: topicOf(event.Type),
				Body: buffer[start:len(buffer):len(buffer)], Traceparent: event.Trace.Parent,
			}
			if message.Topic == bus.TopicJobs {
				work.messages = append(work.messages, message)
			} else {
				news.messages = append(news.messages, message)
			}
		}
		work.ends[i], news.ends[i] = len(work.messages), len(news.messages)
	}
	return work, news
}
