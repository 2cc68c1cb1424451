package bus

import "time"

// entry is a message in a group: a link of one of its two chains.
type entry struct {
	message Message
	attempt int // deliveries so far

	// Of the delivery under way, if any.
	tag      uint64
	consumer *consumer
	deadline time.Time

	prev, next *entry
}

// chain is a doubly linked list of entries. (container/list would take a second allocation for each.)
type chain struct {
	first, last *entry
	length      int
}

func (c *chain) pushBack(e *entry) {
	e.prev, e.next = c.last, nil
	if c.last == nil {
		c.first = e
	} else {
		c.last.next = e
	}
	c.last = e
	c.length++
}

func (c *chain) pushFront(e *entry) {
	e.prev, e.next = nil, c.first
	if c.first == nil {
		c.last = e
	} else {
		c.first.prev = e
	}
	c.first = e
	c.length++
}

// remove takes out an entry, which must be in this chain.
func (c *chain) remove(e *entry) {
	if e.prev == nil {
		c.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		c.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	c.length--
}
