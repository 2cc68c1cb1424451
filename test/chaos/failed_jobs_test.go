package chaos

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/payment/paymenttest"
)

// TestFailedJobs handles failed jobs of a provider outage by the commands of docs/operations/run.md: one job is retried, one is given
// up, then all others are retried.
func TestFailedJobs(t *testing.T) {
	t.Parallel()
	block := blocks(t, "run.md", "## Failed jobs", 3)
	var away atomic.Bool
	away.Store(true)
	provider := paymenttest.NewProvider(t, paymenttest.Options{Script: func(paymenttest.Call) paymenttest.Behaviour {
		if away.Load() {
			return paymenttest.ExecuteAndFail // which is the worst: the customer was charged, and nobody knows
		}
		return paymenttest.Succeed
	}})
	dir := t.TempDir()
	run := launch{database: newDatabase(t, dir, 100), errorsLogged: true, args: []string{"--gateway", provider.URL(), "--payment-attempts", "1"}}
	s := start(t, run)
	addr := s.ready()
	admin := newOperator(t, dir, "DATABASE_URL="+addressOf(run.database), "ORDERFLOW_GATEWAY="+provider.URL())
	var w wire
	defer w.close()
	const orders = 5 // too few to open the breaker
	for i := range orders {
		a, err := w.ask(addr, http.MethodPost, "/api/v1/orders",
			fmt.Sprintf(`{"user_id":1,"idempotency_key":"k%d","items":[{"product_id":1,"quantity":2}]}`, i))
		if err != nil || a.status != http.StatusCreated {
			t.Fatalf("%v, %v", a, err)
		}
	}
	db := openDatabase(t, run.database)
	waiting := func() map[int64]int64 { // orders by their jobs
		jobs, err := db.FailedJobs(t.Context(), true, 100)
		if err != nil {
			t.Fatal(err)
		}
		found := map[int64]int64{}
		for _, job := range jobs {
			found[job.ID] = job.OrderID
		}
		return found
	}
	await := func(left int) {
		t.Helper()
		(&installation{t: t}).until(fmt.Sprintf("%d dead letters", left), func() (string, bool) {
			now := len(waiting())
			return fmt.Sprint(now), now == left
		})
	}
	await(orders)
	jobs := waiting()

	away.Store(false)
	admin.run(block[0])
	await(orders - 1)
	admin.run(block[1])
	await(orders - 2)
	admin.run(block[2])
	await(0)
	awaitAllEnded(t, addr)
	s.stop()
	audit(t, db)
	charged, after := provider.Charged(), ordersIn(t, db)
	for job, id := range jobs {
		want, charges := order.Paid, 1
		if job == 2 {
			want, charges = order.Failed, 0
		}
		if after[id].Status != want || charged[id] != charges {
			t.Errorf("order %d of job %d is %s and was charged %d times, want %s and %d", id, job, after[id].Status, charged[id], want, charges)
		}
	}
	if problems := provider.Problems(); len(problems) > 0 {
		t.Error(problems)
	}
}
