package env

import (
	"bufio"
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"orderflow/test/servers"
)

// Moment is when a CommitCutter cuts a connection, as seen by the server. Its client sees the same each time: it has sent
// COMMIT, and the connection is gone before the answer.
type Moment int

// The moments.
const (
	BeforeCommit Moment = iota + 1 // the server never hears of COMMIT, and finds its client gone
	AfterCommit                    // the server has carried it out, and its answer is lost
	LateCommit                     // COMMIT is on its way, and its connection open at the server's end, until Deliver
	Vanished                       // the client's machine is gone: this and all other connections, old and new, stay open and silent
)

// CommitCutter is a proxy before a MySQL or PostgreSQL server that cuts a connection at a COMMIT when it is told to. It knows as much of
// the protocol as that takes; connections through it can be neither encrypted nor compressed. It ends with its test.
// Methods are safe for concurrent use.
type CommitCutter struct {
	address *url.URL
	relay   *servers.Relay

	gone atomic.Bool // Vanished has happened: no packet passes any more

	mu    sync.Mutex
	order *cut        // nil when nothing is to be cut
	late  func() bool // delivers the COMMIT that is late; nil when there is none
}

// cut is an order to cut one connection.
type cut struct {
	moment Moment
	having string
	done   chan struct{}
}

// NewCommitCutter starts a proxy before the server at a mysql:// or postgres:// address.
func NewCommitCutter(t testing.TB, address string) *CommitCutter {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c := &CommitCutter{address: parsed}
	c.relay, err = servers.NewRelay(parsed.Host, c.carry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.relay.Close)
	return c
}

// URL is the address given, by way of this proxy.
func (c *CommitCutter) URL() string { return via(c.address, c.relay.Addr()) }

// Arm has the next COMMIT cut, once, whose transaction has sent something with this text in it; "" is in all of them. The
// channel is closed when that has happened, and the server's part in it too.
func (c *CommitCutter) Arm(moment Moment, having string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = &cut{moment: moment, having: having, done: make(chan struct{})}
	return c.order.done
}

// Deliver sends the COMMIT that is late on to the server, waits until the server has answered or has hung up, and reports
// whether it was carried out. Without a late one, it is false.
func (c *CommitCutter) Deliver() bool {
	c.mu.Lock()
	late := c.late
	c.late = nil
	c.mu.Unlock()
	return late != nil && late()
}

func (c *CommitCutter) carry(relay *servers.Relay, client, server net.Conn) {
	l := &link{cutter: c, relay: relay, client: client, server: server, wire: newWire(c.address), answered: make(chan struct{})}
	var up sync.WaitGroup
	up.Go(l.up)
	l.down()
	up.Wait()
}

// due returns the order that a packet from a client fulfils: a COMMIT, after something with the text that was asked for.
// Whoever gets it must carry it out.
func (c *CommitCutter) due(l *link, packet []byte) *cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	statement := l.wire.statement(packet)
	order := c.order
	commit := bytes.EqualFold(statement, []byte("COMMIT"))
	switch {
	case commit && order != nil && (order.having == "" || l.matches == order):
		c.order = nil
		return order
	case commit, bytes.EqualFold(statement, []byte("ROLLBACK")):
		l.matches = nil
	case order != nil && bytes.Contains(statement, []byte(order.having)):
		l.matches = order
	}
	return nil
}

// link is a client's connection and the one to the server that belongs to it.
type link struct {
	cutter  *CommitCutter
	relay   *servers.Relay
	client  net.Conn
	server  net.Conn
	wire    wire
	matches *cut // the order whose text this transaction has sent

	lost     atomic.Bool   // what the server says from now on is the answer that gets lost
	answered chan struct{} // closed when it has come, or never will
	carried  bool          // whether the answer was good; read it after answered
}

// up carries what the client says, packet by packet.
func (l *link) up() {
	in := bufio.NewReader(l.client)
	for {
		packet, err := l.wire.next(in)
		if err != nil {
			break
		}
		if order := l.cutter.due(l, packet); order != nil {
			l.cut(order, packet)
			if order.moment != Vanished {
				return
			}
		}
		if l.cutter.gone.Load() {
			continue // the packet is lost, and nothing says so
		}
		if _, err := l.server.Write(packet); err != nil {
			break
		}
	}
	l.relay.Drop(l.client)
	if !l.cutter.gone.Load() {
		l.relay.Drop(l.server)
	}
}

func (l *link) cut(order *cut, commit []byte) {
	defer close(order.done)
	carry := func() bool {
		_, _ = l.server.Write(commit) // where that fails, there is no answer
		<-l.answered
		return l.carried
	}
	switch order.moment {
	case BeforeCommit:
		l.relay.Drop(l.client, l.server)
	case AfterCommit:
		l.lost.Store(true)
		carry()
		l.relay.Drop(l.client)
	case Vanished:
		l.cutter.gone.Store(true)
	case LateCommit:
		l.lost.Store(true)
		l.cutter.mu.Lock()
		l.cutter.late = carry
		l.cutter.mu.Unlock()
		l.relay.Drop(l.client)
	}
}

// down carries what the server says. The server speaks only when it was asked, so what comes after lost is set is the
// answer to COMMIT, or its end.
func (l *link) down() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buffer)
		if l.lost.Load() {
			l.carried = l.wire.committed(buffer[:n])
			l.relay.Drop(l.server)
			close(l.answered)
			return
		}
		if l.cutter.gone.Load() {
			if err == nil {
				continue
			}
			l.relay.Drop(l.server) // the server hung up; the client's machine is not there to hear it
			return
		}
		if n > 0 {
			if _, err := l.client.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	l.relay.Drop(l.client, l.server)
}
