package realtime

import (
	"net/netip"
	"strings"
	"sync"

	"orderflow/internal/limit"
)

// hub knows who is connected and who listens to what, on this node. Locks are taken in the order hub, channel, conn,
// flusher.
type hub struct {
	options    Options
	metrics    *metrics
	codes      codes
	refusals   refusals
	pong       []byte // the answer to every ping
	flushers   []*flusher
	lasts      *lasts
	feedBell   chan struct{}  // rings when somebody comes to the feed, or nobody is left there
	goroutines sync.WaitGroup // of conns: readers, from enter to the end, and those that wait for their clients

	mu       sync.RWMutex
	channels map[string]*channel
	conns    map[*conn]struct{}
	from     map[netip.Prefix]int // how many of them a client has; see limit.Client
	ending   bool                 // no more are let in
}

// channel is who listens to it. One that nobody listens to is not kept.
type channel struct {
	name string

	mu      sync.Mutex
	members []*member
}

// member is a conn's place in a channel.
type member struct {
	conn    *conn
	channel *channel
	at      int // its index in the channel's members, guarded by the channel's mu
}

// enter lets a conn in; false means that there are too many.
func (h *hub) enter(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	crowded := !c.addr.IsLoopback() && h.from[limit.Client(c.addr)] >= h.options.MaxConnections/2
	if h.ending || len(h.conns) >= h.options.MaxConnections || crowded {
		return false
	}
	c.flusher = h.flushers[len(h.conns)%len(h.flushers)]
	h.conns[c] = struct{}{}
	h.from[limit.Client(c.addr)]++
	h.goroutines.Add(1) // here, where no end can have begun to wait yet
	return true
}

// unsubscribeAll gives all places of a conn back.
func (h *hub) unsubscribeAll(c *conn) {
	for len(c.members) > 0 {
		h.unsubscribe(c, c.members[len(c.members)-1].channel.name)
	}
}

// leave forgets a conn, whose places are given back. Its reader calls it, last: a connection counts until it is closed.
func (h *hub) leave(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	client := limit.Client(c.addr)
	if h.from[client]--; h.from[client] == 0 {
		delete(h.from, client)
	}
}

// count is the number of connections.
func (h *hub) count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.conns)
}

// all returns every conn.
func (h *hub) all() []*conn {
	h.mu.RLock()
	defer h.mu.RUnlock()
	conns := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		conns = append(conns, c)
	}
	return conns
}

// subscribe gives a conn a place in a channel, tells it, and of a cache channel also what was said last. Both happen
// under the channel's lock, so that nothing older follows anything newer.
func (h *hub) subscribe(c *conn, name string) {
	h.mu.Lock()
	ch := h.channels[name]
	if ch == nil {
		ch = &channel{name: name}
		h.channels[name] = ch
	}
	ch.mu.Lock() // before the hub's is given back: a channel that looks empty would be dropped
	h.mu.Unlock()
	defer ch.mu.Unlock()
	m := &member{conn: c, channel: ch, at: len(ch.members)}
	ch.members = append(ch.members, m)
	c.members = append(c.members, m)
	c.send(message(eventSubscribed, name, "{}"))
	if name == feedChannel {
		ring(h.feedBell)
	}
	if isCache(name) {
		if frame := h.lasts.get(name); frame != nil {
			c.send(frame)
		} else {
			c.send(cacheMiss(name))
		}
	}
}

// unsubscribe gives a place back. Nothing happens to a conn that has none.
func (h *hub) unsubscribe(c *conn, name string) {
	for i, m := range c.members {
		if m.channel.name != name {
			continue
		}
		c.members[i] = c.members[len(c.members)-1]
		c.members[len(c.members)-1] = nil
		c.members = c.members[:len(c.members)-1]
		h.drop(m)
		return
	}
}

// drop takes a member out of its channel, and the channel out of the hub when it was the last one.
func (h *hub) drop(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := m.channel
	ch.mu.Lock()
	defer ch.mu.Unlock()
	last := ch.members[len(ch.members)-1]
	ch.members[m.at], last.at = last, m.at
	ch.members[len(ch.members)-1] = nil
	ch.members = ch.members[:len(ch.members)-1]
	if len(ch.members) == 0 {
		delete(h.channels, ch.name)
		if ch.name == feedChannel {
			ring(h.feedBell)
		}
	}
}

// find returns a channel, nil when nobody listens to it.
func (h *hub) find(name string) *channel {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.channels[name]
}

// names are the channels that begin with a prefix, up to a number of them.
func (h *hub) names(prefix string, most int) (names []string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for name := range h.channels {
		if len(names) == most {
			break
		}
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

// settleAt is how much may wait for a flusher on one conn before broadcasts wait too, in bytes: a hundred events or so in a
// call are enough, and more would only be later.
const settleAt = 32 << 10

// handful is how many conns are handed to a flusher at a time, so that it begins before a long broadcast ends.
const handful = 64

// listeners is how many conns of this node listen to a channel.
func (h *hub) listeners(name string) int {
	ch := h.find(name)
	if ch == nil {
		return 0
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.members)
}

// broadcast queues a frame on all who listen to a channel, save the conn with the socket id except. When the flushers
// are far behind, it then waits for them: it is the server that is slow, and nobody is to be cut off for that.
func (h *hub) broadcast(ch *channel, frame []byte, except string) {
	dirty := make([][]*conn, len(h.flushers))
	deepest, delivered := 0, 0
	ch.mu.Lock()
	for _, m := range ch.members {
		c := m.conn
		if except != "" && c.id == except {
			continue
		}
		start, size := c.enqueue(frame, false)
		deepest = max(deepest, size)
		delivered++
		if !start {
			continue
		}
		i := c.flusher.index
		if dirty[i] = append(dirty[i], c); len(dirty[i]) == handful {
			c.flusher.add(dirty[i]...)
			dirty[i] = dirty[i][:0]
		}
	}
	ch.mu.Unlock()
	for i, conns := range dirty {
		if len(conns) > 0 {
			h.flushers[i].add(conns...)
		}
	}
	h.metrics.delivered.Add(float64(delivered))
	if deepest > min(settleAt, h.options.MaxQueue/4) {
		for _, f := range h.flushers {
			f.settle()
		}
	}
}

// end lets nobody in any more, and tells all who are connected to come back later.
func (h *hub) end(code Code) {
	h.mu.Lock()
	h.ending = true
	h.mu.Unlock()
	for _, c := range h.all() {
		c.end(code)
	}
}

// cutAll closes every connection.
func (h *hub) cutAll() {
	for _, c := range h.all() {
		c.mu.Lock()
		if c.state != closed {
			c.cut()
		}
		c.mu.Unlock()
	}
}
