package bench

import (
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// ProcessCPU of this process returns a value between two readings of its own clock.
func TestProcessCPUIsThatOfAllThreads(t *testing.T) {
	before, ok := ownCPU()
	if !ok {
		t.Fatal("this process's own time is not known")
	}
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for now := before; now < before+20*time.Millisecond; now, _ = ownCPU() {
			}
		})
	}
	all.Wait()
	used, err := ProcessCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if used < before+20*time.Millisecond {
		t.Errorf("%s were used, and %s are read", before+20*time.Millisecond, used)
	}
	if after, _ := ownCPU(); used > after+time.Millisecond {
		t.Errorf("%s are read, and %s are used", used, after)
	}
	if used%(10*time.Millisecond) == 0 {
		t.Errorf("%s is not finer than a tick", used)
	}
	if _, err := ProcessCPU(1 << 22); err == nil { // beyond the greatest PID
		t.Error("a process that does not exist has used time")
	}
}

func TestListenerIsFound(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		name := net.JoinHostPort("localhost", port)
		if pid, command, err := Listener(name); err != nil || pid != os.Getpid() || command == "" {
			t.Errorf("%s: process %d %q, %v; want %d", host, pid, command, err, os.Getpid())
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		if pid, command, err := Listener(name); err == nil {
			t.Errorf("%s: %d %q listens on a port that is closed", host, pid, command)
		}
	}
	for _, elsewhere := range []string{"192.0.2.1:80", "nonsense", ""} {
		if pid, _, err := Listener(elsewhere); err == nil {
			t.Errorf("%q: process %d", elsewhere, pid)
		}
	}
}
