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
	// publishMax is the most events of one Publish, except that an EventBatch is never split. It is small, so that a nearly
	// full bus accepts part of a long queue instead of refusing all of it.
	publishMax = 1024

	// deliverTimeout bounds the delivery of all waiting batches, so that an unresponsive bus delays neither a shutdown nor
	// later batches for long.
	deliverTimeout = 5 * time.Second
)

// PublishedMarker records which batches were published.
type PublishedMarker interface {
	// MarkPublished records that the outbox rows with these ids need no further publishing. It neither blocks nor fails:
	// after a lost mark the relay publishes the row once more.
	MarkPublished(ids []string)
}

// deliverer publishes event batches. The Publisher and the Relay have one each.
type deliverer struct {
	bus     bus.Bus
	marker  PublishedMarker
	metrics *metrics
	tracer  tracing.Tracer
}

// deliver publishes the batches in slices of up to publishMax events and marks them as published. It returns how many batches
// were published completely, and the first error; all others stay unpublished. It ignores the end of ctx, so that a shutdown
// interrupts no delivery. It continues after a refused slice, so that a full topic does not delay another one.
func (d *deliverer) deliver(ctx context.Context, batches []order.EventBatch) (delivered int, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deliverTimeout)
	defer cancel()
	for len(batches) > 0 {
		count, events := 0, 0
		for count < len(batches) && (count == 0 || events+len(batches[count].Events) <= publishMax) {
			events += len(batches[count].Events)
			count++
		}
		published, sliceErr := d.deliverSlice(ctx, batches[:count], events)
		delivered += published
		err = cmp.Or(err, sliceErr) // the bus refuses all slices for one reason
		batches = batches[count:]
	}
	return delivered, err
}

// deliverSlice publishes a few batches, each topic separately, and marks those whose events were all published.
func (d *deliverer) deliverSlice(ctx context.Context, batches []order.EventBatch, events int) (delivered int, err error) {
	jobs, changes := messagesByTopic(batches, events)
	unpublished := make([]bool, len(batches))
	jobsErr := d.publish(ctx, bus.TopicJobs, jobs, 0, len(batches), unpublished)
	changesErr := d.publish(ctx, bus.TopicChanges, changes, 0, len(batches), unpublished)

	published := make([]string, 0, len(batches))
	for i, batch := range batches {
		if unpublished[i] {
			continue
		}
		delivered++
		if batch.ID != "" {
			published = append(published, batch.ID)
		}
	}
	if len(published) > 0 {
		d.marker.MarkPublished(published)
	}
	return delivered, errors.Join(jobsErr, changesErr)
}

// publish publishes one topic's messages of the batches from first up to last, and sets unpublished for the batches that the bus
// refused. If the bus is full it halves the slice: the bus may accept a part, and would never accept a slice longer than its
// bound.
func (d *deliverer) publish(ctx context.Context, topic string, m topicMessages, first, last int, unpublished []bool) error {
	messages := m.of(first, last)
	if len(messages) == 0 {
		return nil
	}
	err := ctx.Err()
	if err == nil {
		publishing, spans := d.tracer.Batch(ctx, "publish", tracing.Producer, len(messages), func(i int) string { return messages[i].Traceparent })
		err = d.bus.Publish(publishing, messages)
		spans.End(err)
	}
	if err == nil {
		d.metrics.published.WithLabelValues(topic).Add(float64(len(messages)))
		return nil
	}
	if errors.Is(err, bus.ErrFull) && last-first > 1 {
		middle := first + (last-first)/2
		left := d.publish(ctx, topic, m, first, middle, unpublished)
		right := d.publish(ctx, topic, m, middle, last, unpublished)
		return cmp.Or(left, right) // both have the same reason
	}
	d.metrics.refused.WithLabelValues(topic).Add(float64(len(messages)))
	for i := first; i < last; i++ {
		unpublished[i] = unpublished[i] || len(m.of(i, i+1)) > 0
	}
	return err
}

// topicMessages holds one topic's messages of some batches.
type topicMessages struct {
	messages []bus.Message
	ends     []int // end of each batch's messages
}

// of returns the messages of the batches from first up to last.
func (m topicMessages) of(first, last int) []bus.Message {
	start := 0
	if first > 0 {
		start = m.ends[first-1]
	}
	return m.messages[start:m.ends[last-1]]
}

// topicOf returns the topic of an event type.
func topicOf(t order.EventType) string {
	if t == order.OrderCreated {
		return bus.TopicJobs
	}
	return bus.TopicChanges
}

// eventSize is the approximate size of an encoded event in bytes, so that the buffer rarely grows.
const eventSize = 256

// messagesByTopic encodes the events as messages, by topic and in their order. All bodies share one buffer, since they leave the
// bus in about the order in which they came.
func messagesByTopic(batches []order.EventBatch, events int) (jobs, changes topicMessages) {
	buffer := make([]byte, 0, events*eventSize)
	jobs.ends, changes.ends = make([]int, len(batches)), make([]int, len(batches))
	for i, batch := range batches {
		for _, event := range batch.Events {
			start := len(buffer)
			buffer = event.Append(buffer)
			id := event.ID()
			key, _, _ := strings.Cut(id, "-")
			message := bus.Message{
				ID: id, Key: key, Topic: topicOf(event.Type),
				Body: buffer[start:len(buffer):len(buffer)], Traceparent: event.Trace.Parent,
			}
			if message.Topic == bus.TopicJobs {
				jobs.messages = append(jobs.messages, message)
			} else {
				changes.messages = append(changes.messages, message)
			}
		}
		jobs.ends[i], changes.ends[i] = len(jobs.messages), len(changes.messages)
	}
	return jobs, changes
}
