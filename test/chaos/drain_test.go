package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosTerminate terminates the server repeatedly under load. It exits with 0 in time, cuts no answer off, and the next server
// finds all acknowledged orders.
func TestChaosTerminate(t *testing.T) {
	t.Parallel()
	provider, run := launchWithFlakyProvider(t)
	list, acks := newServerList(), newAcknowledged(t)
	stopClients := startClients(t, 12, list, acks, true)
	defer stopClients()

	rounds := 0
	for end := time.Now().Add(span(t, 5*time.Second)); (rounds < 3 || time.Now().Before(end)) && !t.Failed(); rounds++ {
		s := start(t, run)
		list.set(s.ready())
		wait(t.Context(), 200*time.Millisecond+random(time.Second))
		s.terminate() // while the clients go on: they see it drain
		s.awaitExit(0)
		list.set()
	}
	last := start(t, run)
	addr := last.ready()
	list.set(addr)
	env.Eventually(t, "20 orders are acknowledged", func() bool { return acks.orders() >= 20 })
	stopClients()
	awaitAllEnded(t, addr)
	last.stop()

	db := openDatabase(t, run.database)
	audit(t, db)
	checkPayments(t, acks.compare(db), provider)
	t.Logf("%d times", rounds)
}
