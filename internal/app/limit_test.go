package app

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestLimitedListener(t *testing.T) {
	inner, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	listener := limited(inner, 1)
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
	_ = first.Close() // closing twice gives one place back
	second := <-accepted
	defer func() { _ = second.Close() }()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
}

func TestMaxConnections(t *testing.T) {
	if few, many := maxConnections(256), maxConnections(1); few < 1 || many < few || many > connectionsMax {
		t.Errorf("%d beside 256 charges, %d beside one", few, many)
	}
}
