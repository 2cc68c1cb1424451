package bench

import (
	"net"
	"os"
	"testing"
)

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
