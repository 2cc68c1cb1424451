package bus

import "time"

// entry is a message in a group: an element of one of its two lists.
type entry struct {
	message Message
	attempt int // deliveries so far

	// The current delivery, if any.
	tag      uint64
	consumer *consumer
	deadline time.Time

	prev, next *entry
}

// list is a doubly linked list of entries. (container/list would need a second allocation per entry.)
type list struct {
	first, last *entry
	length      int
}

func (c *list) pushBack(e *entry) {
	e.prev, e.next = c.last, nil
	if c.last == nil {
		c.first = e
	} else {
		c.last.next = e
	}
	c.last = e
	c.length++
}

func (c *list) pushFront(e *entry) {
	e.prev, e.next = nil, c.first
	if c.first == nil {
		c.last = e
	} else {
		c.first.prev = e
	}
	c.first = e
	c.length++
}

// remove removes an entry, which must be in this list.
func (c *list) remove(e *entry) {
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
