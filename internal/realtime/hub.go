package realtime

import (
	"net/netip"
	"strings"
	"sync"

	"orderflow/internal/limit"
	"orderflow/internal/pusher"
)

// hub holds the connections and subscriptions of this node. Locks are taken in the order hub, channel, conn, flusher.
type hub struct {
	options    Options
	metrics    *metrics
	codes      pusher.Codes
	refusals   refusals
	pong       []byte // the answer to every ping
	flushers   []*flusher
	lastEvents *lastEvents
	feedWake   chan struct{}  // notified when the feed gets its first subscriber or loses its last
	goroutines sync.WaitGroup // of conns: readers, from add to remove, and blocked writers

	mu       sync.RWMutex
	channels map[string]*channel
	conns    map[*conn]struct{}
	clients  map[netip.Prefix]int // connections by client; see limit.Client
	closing  bool                 // no further connection is added
}

// channel has the subscribers of a channel. A channel without subscribers is removed.
type channel struct {
	name string

	mu      sync.Mutex
	members []*member
}

// member is the subscription of a conn to a channel.
type member struct {
	conn    *conn
	channel *channel
	index   int // in the channel's members, guarded by the channel's mu
}

// add adds a conn. It returns false when there are too many.
func (h *hub) add(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	crowded := !c.addr.IsLoopback() && h.clients[limit.Client(c.addr)] >= h.options.MaxConnections/2
	if h.closing || len(h.conns) >= h.options.MaxConnections || crowded {
		return false
	}
	c.flusher = h.flushers[len(h.conns)%len(h.flushers)]
	h.conns[c] = struct{}{}
	h.clients[limit.Client(c.addr)]++
	h.goroutines.Add(1) // under the lock: closeAll has not run, so no Wait has begun
	return true
}

// remove removes a conn without subscriptions. Its reader calls it last, so that a connection counts until it is closed.
func (h *hub) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conns, c)
	client := limit.Client(c.addr)
	if h.clients[client]--; h.clients[client] == 0 {
		delete(h.clients, client)
	}
}

// count returns the number of connections.
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

// subscribe subscribes a conn to a channel and confirms it; on a cache channel it also sends the last event. All happens under the
// channel's lock, so that no older event follows a newer one.
func (h *hub) subscribe(c *conn, name string) {
	h.mu.Lock()
	ch := h.channels[name]
	if ch == nil {
		ch = &channel{name: name}
		h.channels[name] = ch
	}
	ch.mu.Lock() // before the hub is unlocked: an empty channel would be removed
	h.mu.Unlock()
	defer ch.mu.Unlock()
	m := &member{conn: c, channel: ch, index: len(ch.members)}
	ch.members = append(ch.members, m)
	c.members = append(c.members, m)
	c.send(message(eventSubscribed, name, "{}"))
	if name == pusher.FeedChannel {
		notify(h.feedWake)
	}
	if pusher.IsCache(name) {
		if frame := h.lastEvents.get(name); frame != nil {
			c.send(frame)
		} else {
			c.send(cacheMiss(name))
		}
	}
}

// unsubscribe ends the subscription of a conn, if it has one.
func (h *hub) unsubscribe(c *conn, name string) {
	for i, m := range c.members {
		if m.channel.name != name {
			continue
		}
		c.members[i] = c.members[len(c.members)-1]
		c.members[len(c.members)-1] = nil
		c.members = c.members[:len(c.members)-1]
		h.removeMember(m)
		return
	}
}

// unsubscribeAll ends all subscriptions of a conn.
func (h *hub) unsubscribeAll(c *conn) {
	for len(c.members) > 0 {
		h.unsubscribe(c, c.members[len(c.members)-1].channel.name)
	}
}

// removeMember removes a member from its channel, and an empty channel from the hub.
func (h *hub) removeMember(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := m.channel
	ch.mu.Lock()
	defer ch.mu.Unlock()
	last := ch.members[len(ch.members)-1]
	ch.members[m.index], last.index = last, m.index
	ch.members[len(ch.members)-1] = nil
	ch.members = ch.members[:len(ch.members)-1]
	if len(ch.members) == 0 {
		delete(h.channels, ch.name)
		if ch.name == pusher.FeedChannel {
			notify(h.feedWake)
		}
	}
}

// find returns a channel, nil without subscribers.
func (h *hub) find(name string) *channel {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.channels[name]
}

// names returns at most most channels whose names have a prefix.
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

// subscribers returns the number of a channel's subscribers on this node.
func (h *hub) subscribers(name string) int {
	ch := h.find(name)
	if ch == nil {
		return 0
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.members)
}

const (
	// backlogLimit is the queue of a waiting conn, in bytes, above which broadcasts wait for the flushers. It holds about a hundred
	// events; more in one call would only add delay.
	backlogLimit = 32 << 10

	// addChunk is the number of conns that a broadcast adds to a flusher at once, so that writing begins before a long broadcast ends.
	addChunk = 64
)

// broadcast queues a frame for all subscribers of a channel, except the conn with the socket id except. When the flushers are far
// behind, it waits for them: then the server is slow, and no client must be disconnected for that.
func (h *hub) broadcast(ch *channel, frame []byte, except string) {
	started := make([][]*conn, len(h.flushers))
	longest, delivered := 0, 0
	ch.mu.Lock()
	for _, m := range ch.members {
		c := m.conn
		if except != "" && c.id == except {
			continue
		}
		start, size := c.enqueue(frame, false)
		longest = max(longest, size)
		delivered++
		if !start {
			continue
		}
		i := c.flusher.index
		if started[i] = append(started[i], c); len(started[i]) == addChunk {
			c.flusher.add(started[i]...)
			started[i] = started[i][:0]
		}
	}
	ch.mu.Unlock()
	for i, conns := range started {
		if len(conns) > 0 {
			h.flushers[i].add(conns...)
		}
	}
	h.metrics.delivered.Add(float64(delivered))
	if longest > min(backlogLimit, h.options.MaxQueue/4) {
		for _, f := range h.flushers {
			f.waitForFlush()
		}
	}
}

// closeAll refuses further connections and closes all others with a code.
func (h *hub) closeAll(code pusher.Code) {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	for _, c := range h.all() {
		c.closeWith(code)
	}
}

// abortAll closes all connections without a close frame.
func (h *hub) abortAll() {
	for _, c := range h.all() {
		c.mu.Lock()
		if c.state != closed {
			c.abort()
		}
		c.mu.Unlock()
	}
}
