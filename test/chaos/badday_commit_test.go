package chaos

import (
	"testing"
	"time"

	"orderflow/test/env"
)

// TestChaosManyCommits cuts connections between COMMIT and its answer, whoever's commit it is: an order's, a claim's, a
// settlement's. What was committed is acknowledged once, and what was not is done again.
func TestChaosManyCommits(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	cutter := env.NewCommitCutter(t, env.MySQL(t))
	m := open(t, on(cutter.URL(), redis, prefix))
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
		m.sells(10, "after commits were cut")
	})
	m.close()
}
