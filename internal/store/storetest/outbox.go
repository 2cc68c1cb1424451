package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var outboxTests = map[string]func(*testEnv){
	"unpublished, leased, published, purged": outboxLife,
	"oldest first, up to a limit":            outboxOrder,
	"a lease is for one":                     outboxLease,
	"marks ride with the next write":         outboxRide,
	"marks left over at the end":             outboxRun,
	"a batch of hundreds of events":          outboxWide,
	"purged up to a limit, never unpaid":     outboxPurge,
}

const longAgo = -time.Hour // as an age: everything is older

// unpublished leases the batches that are unpublished for longer than age, and gives them back at once.
func (env *testEnv) unpublished(age time.Duration) []order.EventBatch {
	env.Helper()
	batches, err := env.LeaseOutbox(env.Context(), age, 0, 1_000)
	if err != nil {
		env.Fatal(err)
	}
	return batches
}

func outboxLife(env *testEnv) {
	env.sample(10)
	_, created, err := env.CreateOrders(env.Context(), []order.Draft{env.draft(1, "b", 1, 1), env.draft(1, "a", 1, 1), env.draft(2, "a", 1, 1)})
	if err != nil {
		env.Fatal(err)
	}
	if got := env.unpublished(time.Hour); len(got) != 0 {
		env.Errorf("unpublished for an hour: %v", got)
	}
	byID := func(a, b order.Event) int { return int(a.OrderID - b.OrderID) }
	slices.SortFunc(created.Events, byID) // the relay promises no order within a batch
	if diff := cmp.Diff([]order.EventBatch{created}, env.unpublished(longAgo)); diff != "" {
		env.Errorf("the unpublished events differ from the batch (-batch +unpublished):\n%s", diff)
	}
	env.MarkPublished([]string{created.ID, "no such batch"})
	if got := env.unpublished(longAgo); len(got) != 1 {
		env.Errorf("paid before any write said so: %v", got) // leasing was that write
	}
	if got := env.unpublished(longAgo); len(got) != 0 {
		env.Errorf("still unpublished: %v", got)
	}
	if n, err := env.PurgeOutbox(env.Context(), time.Hour, 10); err != nil || n != 0 {
		env.Errorf("purged %d that were paid just now (%v)", n, err)
	}
	if n, err := env.PurgeOutbox(env.Context(), longAgo, 10); err != nil || n != 1 {
		env.Errorf("purged %d, want 1 (%v)", n, err)
	}
	env.checkInvariants()
}

func outboxOrder(env *testEnv) {
	env.sample(100)
	var ids []string
	for i := range 5 {
		_, batch, err := env.CreateOrders(env.Context(), []order.Draft{env.draft(1, fmt.Sprint(i), 1, 1)})
		if err != nil {
			env.Fatal(err)
		}
		ids = append(ids, batch.ID)
	}
	for from := 0; from < 5; from += 2 {
		leased, err := env.LeaseOutbox(env.Context(), longAgo, time.Hour, 2)
		var got []string
		for _, r := range leased {
			got = append(got, r.ID)
		}
		if want := ids[from:min(from+2, 5)]; err != nil || !slices.Equal(got, want) {
			env.Errorf("leased %v (%v), want %v", got, err, want)
		}
	}
}

func outboxLease(env *testEnv) {
	env.sample(1_000)
	for i := range 40 {
		env.place(fmt.Sprint(i))
	}
	// A round that gets nothing while rows are left has lost them to another relay, which has got at least one. So this many rounds
	// get every row, and a relay for which there are none, or for which they never end, fails the test.
	const count, rounds, limit = 4, 80, 7
	var relays gang
	leased := make(chan string, count*rounds*limit)
	for range count {
		relay := env.connect(Rules())
		relays.Go(func() error {
			for range rounds {
				batches, err := relay.LeaseOutbox(env.Context(), longAgo, time.Hour, limit)
				for _, r := range batches {
					leased <- r.ID
				}
				if err != nil || len(batches) == 0 && len(leased) >= 40 {
					return err
				}
			}
			return nil
		})
	}
	env.wait(&relays)
	close(leased)
	seen := map[string]int{}
	for id := range leased {
		seen[id]++
	}
	for id, n := range seen {
		if n > 1 {
			env.Errorf("batch %s was leased %d times", id, n)
		}
	}
	if len(seen) != 40 {
		env.Errorf("%d batches were leased, want 40", len(seen))
	}
}

func outboxRide(env *testEnv) {
	env.sample(10)
	_, first, err := env.CreateOrders(env.Context(), []order.Draft{env.draft(1, "a", 1, 1)})
	if err != nil {
		env.Fatal(err)
	}
	env.MarkPublished([]string{first.ID})
	if got := Figure(env, env.Store, 8, "unpublished"); got != 1 {
		env.Errorf("%d unpublished before the next write, want 1", got)
	}
	o := env.place("b")
	if got := Figure(env, env.Store, 8, "unpublished"); got != 1 {
		env.Errorf("%d unpublished after the next write, want only its own", got)
	}
	env.claim(o.ID) // writes no outbox row
	if err := env.FlushPublished(env.Context()); err != nil {
		env.Error(err)
	}
	if got := env.unpublished(longAgo); len(got) != 1 || got[0].ID == first.ID {
		env.Errorf("unpublished: %v", got)
	}
}

func outboxRun(env *testEnv) {
	env.sample(10)
	_, batch, err := env.CreateOrders(env.Context(), []order.Draft{env.draft(1, "a", 1, 1)})
	if err != nil {
		env.Fatal(err)
	}
	ctx, stop := context.WithCancel(env.Context())
	env.MarkPublished([]string{batch.ID})
	stop()
	if err := env.Store.Run(ctx); err != nil {
		env.Error(err)
	}
	if got := env.unpublished(longAgo); len(got) != 0 {
		env.Errorf("unpublished after the end: %v", got)
	}
}

func outboxWide(env *testEnv) {
	env.sample(1_000)
	var drafts []order.Draft
	for i := range 300 {
		drafts = append(drafts, env.draft(int64(i%3+1), fmt.Sprint(i), 1, 1))
	}
	answers := env.create(drafts...)
	var cancels []order.CancelRequest
	for i := 0; i < len(answers); i += 3 {
		cancels = append(cancels, order.CancelRequest{OrderID: answers[i].Order.ID})
	}
	if _, _, err := env.CancelOrders(env.Context(), cancels); err != nil {
		env.Fatal(err)
	}
	got := env.unpublished(longAgo)
	if len(got) != 2 || len(got[0].Events) != 300 || len(got[1].Events) != 100 {
		env.Fatalf("%d batches are unpublished", len(got))
	}
	for _, e := range got[1].Events {
		if e.Type != order.OrderCancelled || e.Seq != 2 {
			env.Errorf("a batch of cancellations holds %+v", e)
		}
	}
}

func outboxPurge(env *testEnv) {
	env.sample(100)
	var ids []string
	for i := range 10 {
		_, batch, err := env.CreateOrders(env.Context(), []order.Draft{env.draft(1, fmt.Sprint(i), 1, 1)})
		if err != nil {
			env.Fatal(err)
		}
		ids = append(ids, batch.ID)
	}
	env.MarkPublished(ids[:7])
	if err := env.FlushPublished(env.Context()); err != nil {
		env.Fatal(err)
	}
	for _, want := range []int{5, 2, 0} {
		if n, err := env.PurgeOutbox(env.Context(), longAgo, 5); err != nil || n != want {
			env.Errorf("purged %d, want %d (%v)", n, want, err)
		}
	}
	if got := env.unpublished(longAgo); len(got) != 3 {
		env.Errorf("%d still unpublished, want 3", len(got))
	}
}
