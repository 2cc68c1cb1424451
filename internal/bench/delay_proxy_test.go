package bench

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// echo is a server that returns its input, and ends with it.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); conns.Wait() })
	return listener.Addr().String()
}

func forwarder(t *testing.T, target string, delay time.Duration) *DelayProxy {
	t.Helper()
	f, err := NewDelayProxy(t.Context(), target, delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // may be closed already
	return f
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(forEver))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.TCPConn)
}

func TestDelayProxyDelays(t *testing.T) {
	const delay, trips = 20 * time.Millisecond, 25
	conn := dial(t, forwarder(t, echo(t), delay).Addr())
	var took []time.Duration
	for range trips {
		began := time.Now()
		if _, err := conn.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	if least := slices.Min(took); least < delay || least > 2*delay { // other round trips may have waited for the processor
		t.Errorf("the fastest round trip took %s, want %s", least, delay)
	}
}

// Concurrent connections with more data in flight than the limit: all data arrives in order, and then the end.
func TestDelayProxyKeepsOrder(t *testing.T) {
	addr := forwarder(t, echo(t), time.Millisecond).Addr()
	var conns sync.WaitGroup
	for seed := range uint64(4) {
		conns.Go(func() {
			data := make([]byte, 2<<20)
			random := rand.New(rand.NewPCG(seed, 0))
			for i := range data {
				data[i] = byte(random.Uint32())
			}
			conn := dial(t, addr)
			conns.Go(func() {
				for rest := data; len(rest) > 0; {
					n := min(len(rest), 1+random.IntN(64<<10))
					if _, err := conn.Write(rest[:n]); err != nil {
						t.Error(err)
						return
					}
					rest = rest[n:]
				}
				if err := conn.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d of %d bytes were returned, %v", len(got), len(data), err)
			}
		})
	}
	conns.Wait()
}

// The end of the proxy, and a target that cannot be reached, end the connection of the client.
func TestDelayProxyEnds(t *testing.T) {
	f := forwarder(t, echo(t), time.Millisecond)
	conn := dial(t, f.Addr())
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes from a closed proxy", n)
	}
	gone := forwarder(t, "127.0.0.1:1", 0)
	if n, err := dial(t, gone.Addr()).Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes without a target", n)
	}
	if _, err := NewDelayProxy(t.Context(), "127.0.0.1:1", -1); err == nil {
		t.Error("a negative delay was accepted")
	}
}
