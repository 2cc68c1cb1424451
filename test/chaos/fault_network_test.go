package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// each applies a function to every process.
func (m *installation) each(do func(n *instance)) {
	for _, n := range m.instances {
		do(n)
	}
}

// TestChaosManyNetworkToDatabase delays, freezes and cuts the network to the database: for all processes, and for one of two.
func TestChaosManyNetworkToDatabase(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(env.MySQL(t), redis, prefix))
	back := func(after string) {
		t.Helper()
		m.each(func(n *instance) { n.toDatabase.Restore() })
		m.awaitHealth(healthy)
		m.awaitOrders(10, after)
	}
	m.repeat(func() {
		m.awaitOrders(10, "before the fault")
		m.each(func(n *instance) { n.toDatabase.Delay(200 * time.Millisecond) })
		m.awaitOrders(10, "with the database 200 ms away")
		m.each(func(n *instance) { n.toDatabase.Delay(2 * time.Second) })
		wait(t.Context(), 5*time.Second)
		back("after the database was 2 s away")

		m.each(func(n *instance) { n.toDatabase.Cut() })
		m.awaitHealth(noDatabase)
		back("after the database was cut off")

		m.each(func(n *instance) { n.toDatabase.Freeze() })
		m.awaitHealth(noDatabase)
		back("after nothing came through to the database")

		one := m.instances[0]
		one.toDatabase.Cut()
		m.awaitHealth(noDatabase, one)
		m.awaitOrders(10, "with one process cut off")
		m.awaitHealth(healthy, m.instances[1:]...)
		one.toDatabase.Freeze()
		one.toDatabase.Shut(false)
		m.awaitOrders(10, "with one process frozen out")
		back("after one process was cut off")
	})
	m.close()
}

// TestChaosManyNetworkToRedis delays, freezes and cuts the network to Redis. Orders continue throughout.
func TestChaosManyNetworkToRedis(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := startInstallation(t, serverAndRedis(env.MySQL(t), redis, prefix))
	m.repeat(func() {
		for name, spoil := range map[string]func(n *instance){
			"200 ms away": func(n *instance) { n.toRedis.Delay(200 * time.Millisecond) },
			"2 s away":    func(n *instance) { n.toRedis.Delay(2 * time.Second) },
			"cut off":     func(n *instance) { n.toRedis.Cut() },
			"frozen":      func(n *instance) { n.toRedis.Freeze() },
		} {
			m.each(spoil)
			m.awaitHealth(noRedis)
			m.awaitOrders(20, "with Redis "+name)
			m.each(func(n *instance) { n.toRedis.Restore() })
			m.awaitHealth(healthy)
			m.awaitOrders(10, "after Redis was "+name)

			spoil(m.instances[0]) // alone: it takes no locks, and the other one does
			m.awaitHealth(noRedis, m.instances[0])
			m.awaitOrders(10, "with Redis "+name+" for one process")
			m.awaitHealth(healthy, m.instances[1:]...)
			m.instances[0].toRedis.Restore()
			m.awaitHealth(healthy)
		}
		m.awaitDelivery("after all that")
	})
	m.close()
}
