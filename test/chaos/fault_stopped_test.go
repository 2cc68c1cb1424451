package chaos

import (
	"syscall"
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosManyStopped stops a process in the middle of its work, mostly inside a transaction, as a machine that hangs or
// vanishes does: its connections stay open and silent, and the rows that it has locked stay locked until the server ends
// its session. The others sell the same product again, and the process that goes on finds that its transaction is gone.
func TestChaosManyStopped(t *testing.T) { onEachServer(t, manyStopped) }

func manyStopped(t *testing.T, database string) {
	t.Helper()
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(database, redis, prefix))
	m.repeat(func() {
		for _, n := range []*instance{m.instances[0], m.instances[2], m.instances[0]} {
			n.toDatabase.Delay(20 * time.Millisecond) // nearly all of its time is spent in transactions
			m.awaitOrders(20, "before a process is stopped")
			wait(t.Context(), random(200*time.Millisecond))
			addr := n.addr
			n.addr = ""
			m.updateServers()
			n.signal(syscall.SIGSTOP)
			m.awaitOrders(50, "while an "+n.role+" is stopped")
			n.signal(syscall.SIGCONT)
			n.toDatabase.Delay(0)
			n.addr = addr
			m.updateServers()
			m.awaitHealth(healthy, n)
			m.awaitOrders(10, "when it goes on")
		}
	})
	m.close()
}

// signal sends a signal to the process.
func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.Signal(signal); err != nil {
		s.t.Error(err)
	}
}
