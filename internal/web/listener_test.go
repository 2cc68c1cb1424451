package web

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestLimitedListener(t *testing.T) {
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	listener := LimitListener(inner, 1, nil)
	accepted := make(chan net.Conn, 3)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	first := <-accepted
	wait := time.NewTimer(50 * time.Millisecond)
	select {
	case <-accepted:
		t.Fatal("a second connection was accepted beside the first")
	case <-wait.C:
	}
	if err := errors.Join(first.Close(), nil); err != nil {
		t.Fatal(err)
	}
	_ = first.Close() // a second close releases nothing
	second := <-accepted
	defer func() { _ = second.Close() }()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
}

// One client has at most half of the connections. Proxies and loopback addresses may have all.
func TestConnectionsOfOneClient(t *testing.T) {
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitedListener(inner, 4, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	defer func() { _ = l.Close() }()
	for _, c := range []struct {
		addresses []string
		want      int
	}{
		{[]string{"192.0.2.7", "192.0.2.7", "::ffff:192.0.2.7", "192.0.2.7"}, 2},
		{[]string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}, 2},
		{[]string{"10.1.2.3", "10.1.2.3", "10.1.2.3"}, 3},
		{[]string{"127.0.0.1", "127.0.0.1", "::1"}, 3},
	} {
		acquired := 0
		for _, address := range c.addresses {
			client := l.client(&net.TCPAddr{IP: net.ParseIP(address), Port: 4711})
			if l.acquire(client) {
				acquired++
				defer l.release(client)
			}
		}
		if acquired != c.want {
			t.Errorf("%v: %d connections are accepted, want %d", c.addresses, acquired, c.want)
		}
	}
}
