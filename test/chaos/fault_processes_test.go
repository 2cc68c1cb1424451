package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosManyProcesses removes processes from a running installation: each in turn is killed, each in turn is terminated, and a
// worker ends by itself. The others continue, and clients use the other API process.
func TestChaosManyProcesses(t *testing.T) { onEachServer(t, manyProcesses) }

func manyProcesses(t *testing.T, database string) {
	t.Helper()
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(database, redis, prefix))
	m.repeat(func() {
		for _, n := range m.instances {
			wait(t.Context(), random(200*time.Millisecond))
			n.addr = ""
			m.updateServers()
			n.kill()
			m.awaitOrders(10, "while a "+n.role+" is dead")
			m.restart(n)
		}
		for _, n := range m.instances {
			wait(t.Context(), random(200*time.Millisecond))
			n.terminate()
			n.awaitExit(0)
			n.addr = ""
			m.updateServers()
			m.awaitOrders(10, "while a "+n.role+" has ended")
			m.restart(n)
		}
		brief := m.start("worker", "--max-time", "1s")
		brief.ready()
		brief.awaitExit(0)
	})
	m.close()
}
