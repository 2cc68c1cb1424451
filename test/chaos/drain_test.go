package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosTerminate asks the server to end, again and again, under load. It ends with 0 and in time, cuts no answer
// off, and the next one finds all that was acknowledged.
func TestChaosTerminate(t *testing.T) {
	t.Parallel()
	provider, run := moodyHouse(t)
	shop, books := newShop(), newLedger(t)
	rest := crowd(t, 12, shop, books, true)
	defer rest()

	rounds := 0
	for end := time.Now().Add(span(t, 5*time.Second)); (rounds < 3 || time.Now().Before(end)) && !t.Failed(); rounds++ {
		s := start(t, run)
		shop.move(s.ready())
		wait(t.Context(), 200*time.Millisecond+random(time.Second))
		s.terminate() // while the shoppers go on: they see it drain
		s.awaitExit(0)
		shop.move()
	}
	last := start(t, run)
	addr := last.ready()
	shop.move(addr)
	env.Eventually(t, "20 orders are acknowledged", func() bool { return books.orders() >= 20 })
	rest()
	ended(t, addr)
	last.stop()

	db := openDatabase(t, run.database)
	prove(t, db)
	settled(t, books.compare(db), provider)
	t.Logf("%d times", rounds)
}
