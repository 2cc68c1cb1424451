package servers

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// Proxy stands for the network between a client and a server: it can be slow, stop, and break. Make it with NewProxy and
// end it with Close. Its methods are safe for concurrent use.
//
// It is ours because the library for it (toxiproxy) leaves goroutines behind with every connection that is cut while
// something is on its way, and loses what was on its way when the network only stood still.
type Proxy struct {
	*Relay

	mu      sync.Mutex
	delay   time.Duration // each way
	frozen  bool
	strands bool
	ended   bool
	changed chan struct{} // closed, and replaced, when one of these changes
}

const (
	chunkSize = 64 << 10 // bytes read at once
	onTheWay  = 256      // chunks in one direction of one connection; more wait at the sender's
)

// chunk is what came at once.
type chunk struct {
	data []byte
	at   time.Time
}

// NewProxy starts a proxy before the server at upstream, HOST:PORT.
func NewProxy(upstream string) (*Proxy, error) {
	p := &Proxy{changed: make(chan struct{})}
	relay, err := NewRelay(upstream, func(r *Relay, client, server net.Conn) {
		var up sync.WaitGroup
		up.Go(func() { p.pass(r, client, server) })
		p.pass(r, server, client)
		up.Wait()
	})
	if err != nil {
		return nil, err
	}
	p.Relay = relay
	return p, nil
}

// Delay makes every round trip take that much longer; half of it each way. What is on its way already is delayed as well.
func (p *Proxy) Delay(roundTrip time.Duration) { p.set(func() { p.delay = roundTrip / 2 }) }

// Freeze lets nothing pass, not even the news that an end has closed, and keeps connections open. New ones can be made and
// hang. Nothing is lost: it passes after Restore, as after a network's partition.
func (p *Proxy) Freeze() { p.set(func() { p.frozen = true }) }

// Strand freezes likewise, but what meets it is lost: a connection on which something is on its way, or that is made
// meanwhile, stays open and silent for good. After Restore only others work, as when another machine takes an address over.
func (p *Proxy) Strand() { p.set(func() { p.frozen, p.strands = true, true }) }

// Cut breaks all connections, with what is on its way, and closes every new one at once.
func (p *Proxy) Cut() { p.Shut(true) }

// Restore makes the network good again: no delay, nothing frozen, nothing cut.
func (p *Proxy) Restore() {
	p.set(func() { p.delay, p.frozen, p.strands = 0, false, false })
	p.Shut(false)
}

// Close ends the proxy and everything on its way.
func (p *Proxy) Close() {
	p.set(func() { p.ended = true })
	p.Relay.Close()
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// pass carries what one end says to the other, until one of them closes.
func (p *Proxy) pass(r *Relay, from, to net.Conn) {
	way := make(chan chunk, onTheWay)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(way)
		buffer := make([]byte, chunkSize)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				way <- chunk{bytes.Clone(buffer[:n]), time.Now()}
			}
			if err != nil {
				return
			}
		}
	})
	stranded := false
	for c := range way {
		p.await(c.at, &stranded)
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	p.await(time.Now(), &stranded) // the end travels, too
	r.Drop(from, to)
	for range way { // nobody wants what is left; the reader may be waiting to hand it over
	}
	reader.Wait()
}

// await waits until what was sent at that time arrives, which on a stranded connection is never.
func (p *Proxy) await(sent time.Time, stranded *bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		*stranded = *stranded || p.strands
		frozen, left, changed, ended := p.frozen || *stranded, time.Until(sent.Add(p.delay)), p.changed, p.ended
		p.mu.Unlock()
		if ended || !frozen && left <= 0 {
			return
		}
		var due <-chan time.Time
		if !frozen {
			timer.Reset(left)
			due = timer.C
		}
		select {
		case <-due:
		case <-changed:
		}
	}
}
