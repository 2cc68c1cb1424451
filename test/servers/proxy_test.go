package servers_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow/test/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo starts a server that says again what it hears, and a proxy before it.
func echo(t *testing.T) *servers.Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				_, _ = io.Copy(conn, conn) // its end is the client's to see
				_ = conn.Close()
			})
		}
	})
	proxy, err := servers.NewProxy(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proxy.Close()
		_ = listener.Close()
		work.Wait()
	})
	return proxy
}

func dial(t *testing.T, proxy *servers.Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// hears waits so long at most for what a connection says.
func hears(t *testing.T, conn net.Conn, want string, wait time.Duration) error {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	_, err := io.ReadFull(conn, got)
	if err == nil && string(got) != want {
		t.Errorf("heard %q, want %q", got, want)
	}
	return err
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Error(err)
	}
}

const patience = time.Minute

// TestProxyDelay: a round trip takes as long as it is told to, however many are on their way.
func TestProxyDelay(t *testing.T) {
	t.Parallel()
	proxy := echo(t)
	conn := dial(t, proxy)
	const delay = 100 * time.Millisecond
	proxy.Delay(delay)
	began := time.Now()
	for range 20 {
		say(t, conn, "one")
	}
	for range 20 {
		if err := hears(t, conn, "one", patience); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took < delay || took >= 20*delay {
		t.Errorf("20 at once took %s, want %s and not that for each", took, delay)
	}
	proxy.Delay(time.Hour)
	say(t, conn, "two")
	proxy.Restore()
	if err := hears(t, conn, "two", patience); err != nil {
		t.Error(err)
	}
}

// TestProxyFreeze: nothing passes and nothing is lost, on connections old and new.
func TestProxyFreeze(t *testing.T) {
	t.Parallel()
	proxy := echo(t)
	old := dial(t, proxy)
	say(t, old, "one")
	if err := hears(t, old, "one", patience); err != nil {
		t.Fatal(err)
	}
	proxy.Freeze()
	fresh := dial(t, proxy)
	for _, conn := range []net.Conn{old, fresh} {
		say(t, conn, "two")
		if err := hears(t, conn, "two", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("something came through the ice: %v", err)
		}
	}
	proxy.Restore()
	for _, conn := range []net.Conn{old, fresh} {
		if err := hears(t, conn, "two", patience); err != nil {
			t.Error(err)
		}
	}
}

// TestProxyCut: connections break while much is on its way, new ones are of no use, and later they are again.
func TestProxyCut(t *testing.T) {
	t.Parallel()
	proxy := echo(t)
	for range 3 {
		var conns []net.Conn
		for range 4 {
			conn := dial(t, proxy)
			say(t, conn, "one")
			if err := hears(t, conn, "one", patience); err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(bytes.Repeat([]byte("x"), 1<<20)) // nobody reads what comes back
			conns = append(conns, conn)
		}
		proxy.Cut()
		for _, conn := range append(conns, dial(t, proxy)) {
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a connection was not cut")
			}
		}
		proxy.Restore()
	}
}
