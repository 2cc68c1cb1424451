package bus

import (
	"context"
	"fmt"
	"time"
)

// group is a topic's group: what waits for its consumers and what is in their hands. Guarded by the bus's mutex.
type group struct {
	bus  *Local
	name string
	bell bell

	waiting  chain             // to be fetched, oldest first
	unacked  chain             // fetched, in order of delivery and so of deadline
	byTag    map[uint64]*entry // those in unacked
	setAside uint64            // how many, ever

	overdue *time.Timer // due at the deadline of what was first in unacked when it was set; nil before the first fetch
	armed   bool        // overdue is running
}

func newGroup(b *Local, name string) *group {
	return &group{bus: b, name: name, bell: newBell(), byTag: make(map[uint64]*entry)}
}

// deliver moves up to limit messages from waiting to unacked, in the hands of c.
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

// ack forgets a delivery, unless it has been taken back.
func (g *group) ack(tag uint64) {
	if e, found := g.byTag[tag]; found {
		delete(g.byTag, tag)
		g.unacked.remove(e)
	}
}

// takeBack ends the deliveries that ended says: they wait again, before all others and in their old order, save those
// that were delivered too often, which it returns.
func (g *group) takeBack(ended func(*entry) bool) (aside []Message) {
	for e := g.unacked.last; e != nil; {
		previous := e.prev
		if ended(e) {
			g.ack(e.tag)
			if e.attempt < g.bus.options.Deliveries {
				g.waiting.pushFront(e)
				g.bell.ring()
			} else {
				g.setAside++
				aside = append(aside, e.message)
			}
		}
		e = previous
	}
	return aside
}

// arm sets the timer for the first deadline, unless it runs already: it then runs for an earlier one, and is set again
// when it has come.
func (g *group) arm() {
	if g.armed || g.unacked.first == nil {
		return
	}
	g.armed = true
	left := time.Until(g.unacked.first.deadline)
	if g.overdue == nil {
		g.overdue = time.AfterFunc(left, g.collect)
	} else {
		g.overdue.Reset(left)
	}
}

// collect takes back what is past its deadline. The timer calls it.
func (g *group) collect() {
	g.bus.mu.Lock()
	g.armed = false
	var aside []Message
	if !isClosed(g.bus.closed) {
		now := time.Now()
		aside = g.takeBack(func(e *entry) bool { return !now.Before(e.deadline) })
		g.arm()
	}
	g.bus.mu.Unlock()
	g.report(aside)
}

// report tells of messages set aside. The mutex must not be held.
func (g *group) report(aside []Message) {
	for _, message := range aside {
		g.bus.options.SetAside(g.name, message)
	}
}

// stop ends the timer.
func (g *group) stop() {
	if g.overdue != nil {
		g.overdue.Stop()
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
		return nil, fmt.Errorf("bus: fetch of at most %d messages: ask for at least 1", limit)
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
		case <-c.group.bell:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
		case <-c.group.bus.closed:
		}
	}
}

// take returns what waits, up to limit, if anything does.
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
	if g.waiting.length > 0 { // left for another, who may have to be woken
		g.bell.ring()
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
	aside := g.takeBack(func(e *entry) bool { return e.consumer == c })
	g.bus.mu.Unlock()
	g.report(aside)
	return nil
}
