package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosManyCommits cuts connections between COMMIT and its answer, in creates, claims and settlements. A committed transaction is
// acknowledged once, another one runs again.
func TestChaosManyCommits(t *testing.T) { onEachServer(t, manyCommits) }

func manyCommits(t *testing.T, database string) {
	t.Helper()
	redis, prefix := env.Redis(t)
	cutter := env.NewCommitCutter(t, database)
	m := startInstallation(t, serverAndRedis(cutter.URL(), redis, prefix))
	m.repeat(func() {
		for range 2 {
			for _, moment := range []env.Moment{env.BeforeCommit, env.AfterCommit, env.LateCommit} {
				for _, statement := range []string{"INSERT INTO orders", "UPDATE orders", ""} {
					env.Closed(t, "a transaction with "+statement, cutter.Arm(moment, statement))
					if moment == env.LateCommit {
						wait(t.Context(), random(300*time.Millisecond))
						cutter.Deliver()
					}
				}
			}
		}
		m.awaitOrders(10, "after commits were cut")
	})
	m.close()
}
