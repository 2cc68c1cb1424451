package bus

import (
	"context"
	"fmt"
	"time"
)

// group is a consumer group of a topic. The bus's mutex guards it.
type group struct {
	bus  *Local
	name string
	wake signal

	waiting      list              // not fetched, oldest first
	unacked      list              // fetched, in order of delivery and therefore of deadline
	byTag        map[uint64]*entry // the entries of unacked
	deadLettered uint64            // messages dead-lettered, ever

	ackTimer *time.Timer // fires at the deadline of the entry that was first in unacked when it was set; nil before the first fetch
	armed    bool        // ackTimer is running
}

func newGroup(b *Local, name string) *group {
	return &group{bus: b, name: name, wake: newSignal(), byTag: make(map[uint64]*entry)}
}

// deliver moves up to limit messages from waiting to unacked and delivers them to c.
func (g *group) deliver(c *consumer, limit int) []Delivery {
	deliveries := make([]Delivery, 0, min(limit, g.waiting.length))
	deadline := time.Now().Add(g.bus.options.AckWithin)
	for len(deliveries) < cap(deliveries) {
		e := g.waiting.first
		g.waiting.remove(e)
		g.bus.tag++
		e.tag, e.consumer, e.deadline = g.bus.tag, c, deadline
		e.attempt++
		g.unacked.pushBack(e)
		g.byTag[e.tag] = e
		deliveries = append(deliveries, Delivery{Message: e.message, Attempt: e.attempt, Tag: e.tag})
	}
	g.arm()
	return deliveries
}

// ack removes a delivery, unless its message has been requeued.
func (g *group) ack(tag uint64) {
	if e, found := g.byTag[tag]; found {
		delete(g.byTag, tag)
		g.unacked.remove(e)
	}
}

// requeue ends the deliveries for which ended returns true. Their messages go back to the front of waiting, in their old order.
// It dead-letters and returns those that have reached the delivery limit.
func (g *group) requeue(ended func(*entry) bool) (deadLettered []Message) {
	for e := g.unacked.last; e != nil; {
		previous := e.prev
		if ended(e) {
			g.ack(e.tag)
			if e.attempt < g.bus.options.Deliveries {
				g.waiting.pushFront(e)
				g.wake.notify()
			} else {
				g.deadLettered++
				deadLettered = append(deadLettered, e.message)
			}
		}
		e = previous
	}
	return deadLettered
}

// arm sets the timer for the first deadline. A running timer is set for an earlier deadline, and requeueOverdue sets it again.
func (g *group) arm() {
	if g.armed || g.unacked.first == nil {
		return
	}
	g.armed = true
	left := time.Until(g.unacked.first.deadline)
	if g.ackTimer == nil {
		g.ackTimer = time.AfterFunc(left, g.requeueOverdue)
	} else {
		g.ackTimer.Reset(left)
	}
}

// requeueOverdue requeues the messages whose deadline has passed. The timer calls it.
func (g *group) requeueOverdue() {
	g.bus.mu.Lock()
	g.armed = false
	var deadLettered []Message
	if !isClosed(g.bus.closed) {
		now := time.Now()
		deadLettered = g.requeue(func(e *entry) bool { return !now.Before(e.deadline) })
		g.arm()
	}
	g.bus.mu.Unlock()
	g.reportDeadLettered(deadLettered)
}

// reportDeadLettered calls the hook for dead-lettered messages. The mutex must not be held.
func (g *group) reportDeadLettered(deadLettered []Message) {
	for _, message := range deadLettered {
		g.bus.options.DeadLettered(g.name, message)
	}
}

// stop stops the timer.
func (g *group) stop() {
	if g.ackTimer != nil {
		g.ackTimer.Stop()
	}
}

// consumer is one consumer of a group.
type consumer struct {
	group  *group
	closed chan struct{} // closed under the bus's mutex
}

// Fetch implements Group.
func (c *consumer) Fetch(ctx context.Context, limit int) ([]Delivery, error) {
	if limit < 1 {
		return nil, fmt.Errorf("bus: the fetch limit %d must be at least 1", limit)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		deliveries, err := c.take(limit)
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		select {
		case <-c.group.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
		case <-c.group.bus.closed:
		}
	}
}

// take returns up to limit waiting messages, or none.
func (c *consumer) take(limit int) ([]Delivery, error) {
	g := c.group
	g.bus.mu.Lock()
	defer g.bus.mu.Unlock()
	if isClosed(g.bus.closed) {
		return nil, ErrClosed
	}
	var deliveries []Delivery
	var err error
	if isClosed(c.closed) {
		err = ErrClosed
	} else if g.waiting.length > 0 {
		deliveries = g.deliver(c, limit)
	}
	if g.waiting.length > 0 { // another consumer may have to be woken for the rest
		g.wake.notify()
	}
	return deliveries, err
}

// Ack implements Group.
func (c *consumer) Ack(_ context.Context, deliveries []Delivery) error {
	g := c.group
	g.bus.mu.Lock()
	defer g.bus.mu.Unlock()
	if isClosed(c.closed) || isClosed(g.bus.closed) {
		return ErrClosed
	}
	for i := range deliveries {
		g.ack(deliveries[i].Tag)
	}
	return nil
}

// Close implements Group.
func (c *consumer) Close() error {
	g := c.group
	g.bus.mu.Lock()
	if isClosed(c.closed) {
		g.bus.mu.Unlock()
		return nil
	}
	close(c.closed)
	deadLettered := g.requeue(func(e *entry) bool { return e.consumer == c })
	g.bus.mu.Unlock()
	g.reportDeadLettered(deadLettered)
	return nil
}
