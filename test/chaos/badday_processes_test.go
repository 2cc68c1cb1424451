package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosManyProcesses takes processes from a running installation: each in turn killed, each in turn told to end, and
// a worker that ends by itself. The others go on, and the shoppers go to the other door.
func TestChaosManyProcesses(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := open(t, on(env.MySQL(t), redis, prefix))
	m.repeat(func() {
		for _, n := range m.nodes {
			wait(t.Context(), random(200*time.Millisecond))
			n.addr = ""
			m.publish()
			n.kill()
			m.sells(10, "while a "+n.role+" is dead")
			m.again(n)
		}
		for _, n := range m.nodes {
			wait(t.Context(), random(200*time.Millisecond))
			n.terminate()
			n.awaitExit(0)
			n.addr = ""
			m.publish()
			m.sells(10, "while a "+n.role+" has ended")
			m.again(n)
		}
		brief := m.start("worker", "--max-time", "1s")
		brief.ready()
		brief.awaitExit(0)
	})
	m.close()
}
