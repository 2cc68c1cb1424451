package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// each does something to every process.
func (m *many) each(do func(n *node)) {
	for _, n := range m.nodes {
		do(n)
	}
}

// TestChaosManyNetworkToDatabase makes the way to the database slow, stops it and cuts it; for all, and for one of two.
func TestChaosManyNetworkToDatabase(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := open(t, on(env.MySQL(t), redis, prefix))
	back := func(after string) {
		t.Helper()
		m.each(func(n *node) { n.toDatabase.Restore() })
		m.feel(well)
		m.sells(10, after)
	}
	m.repeat(func() {
		m.sells(10, "on a good day")
		m.each(func(n *node) { n.toDatabase.Delay(200 * time.Millisecond) })
		m.sells(10, "with the database 200 ms away")
		m.each(func(n *node) { n.toDatabase.Delay(2 * time.Second) })
		wait(t.Context(), 5*time.Second)
		back("after the database was 2 s away")

		m.each(func(n *node) { n.toDatabase.Cut() })
		m.feel(noDatabase)
		back("after the database was cut off")

		m.each(func(n *node) { n.toDatabase.Freeze() })
		m.feel(noDatabase)
		back("after nothing came through to the database")

		one := m.nodes[0]
		one.toDatabase.Cut()
		m.feel(noDatabase, one)
		m.sells(10, "with one process cut off")
		m.feel(well, m.nodes[1:]...)
		one.toDatabase.Freeze()
		one.toDatabase.Shut(false)
		m.sells(10, "with one process frozen out")
		back("after one process was cut off")
	})
	m.close()
}

// TestChaosManyNetworkToRedis does the same to the way to Redis. Orders go on all the time.
func TestChaosManyNetworkToRedis(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	m := open(t, on(env.MySQL(t), redis, prefix))
	m.repeat(func() {
		for name, spoil := range map[string]func(n *node){
			"200 ms away": func(n *node) { n.toRedis.Delay(200 * time.Millisecond) },
			"2 s away":    func(n *node) { n.toRedis.Delay(2 * time.Second) },
			"cut off":     func(n *node) { n.toRedis.Cut() },
			"frozen":      func(n *node) { n.toRedis.Freeze() },
		} {
			m.each(spoil)
			m.feel(noRedis)
			m.sells(20, "with Redis "+name)
			m.each(func(n *node) { n.toRedis.Restore() })
			m.feel(well)
			m.sells(10, "after Redis was "+name)

			spoil(m.nodes[0]) // alone: it takes no locks, and the other one does
			m.feel(noRedis, m.nodes[0])
			m.sells(10, "with Redis "+name+" for one process")
			m.feel(well, m.nodes[1:]...)
			m.nodes[0].toRedis.Restore()
			m.feel(well)
		}
		m.delivers("after all that")
	})
	m.close()
}
