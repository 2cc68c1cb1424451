package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var outboxTests = map[string]func(*house){
	"owed, leased, paid, purged":         outboxLife,
	"oldest first, up to a limit":        outboxOrder,
	"a lease is for one":                 outboxLease,
	"marks ride with the next write":     outboxRide,
	"marks left over at the end":         outboxRun,
	"a receipt of hundreds of events":    outboxWide,
	"purged up to a limit, never unpaid": outboxPurge,
}

const longAgo = -time.Hour // as an age: everything is older

// owed leases what is owed for longer than age and gives it back at once.
func (h *house) owed(age time.Duration) []order.EventBatch {
	h.Helper()
	receipts, err := h.LeaseOutbox(h.Context(), age, 0, 1_000)
	if err != nil {
		h.Fatal(err)
	}
	return receipts
}

func outboxLife(h *house) {
	h.sample(10)
	_, created, err := h.CreateOrders(h.Context(), []order.Draft{h.draft(1, "b", 1, 1), h.draft(1, "a", 1, 1), h.draft(2, "a", 1, 1)})
	if err != nil {
		h.Fatal(err)
	}
	if got := h.owed(time.Hour); len(got) != 0 {
		h.Errorf("owed for an hour: %v", got)
	}
	byID := func(a, b order.Event) int { return int(a.OrderID - b.OrderID) }
	slices.SortFunc(created.Events, byID) // the relay owes no order within a receipt
	if diff := cmp.Diff([]order.EventBatch{created}, h.owed(longAgo)); diff != "" {
		h.Errorf("what is owed is not what the receipt said (-receipt +owed):\n%s", diff)
	}
	h.MarkPublished([]string{created.ID, "no such receipt"})
	if got := h.owed(longAgo); len(got) != 1 {
		h.Errorf("paid before any write said so: %v", got) // leasing was that write
	}
	if got := h.owed(longAgo); len(got) != 0 {
		h.Errorf("still owed: %v", got)
	}
	if n, err := h.PurgeOutbox(h.Context(), time.Hour, 10); err != nil || n != 0 {
		h.Errorf("purged %d that were paid just now (%v)", n, err)
	}
	if n, err := h.PurgeOutbox(h.Context(), longAgo, 10); err != nil || n != 1 {
		h.Errorf("purged %d, want 1 (%v)", n, err)
	}
	h.books()
}

func outboxOrder(h *house) {
	h.sample(100)
	var ids []string
	for i := range 5 {
		_, receipt, err := h.CreateOrders(h.Context(), []order.Draft{h.draft(1, fmt.Sprint(i), 1, 1)})
		if err != nil {
			h.Fatal(err)
		}
		ids = append(ids, receipt.ID)
	}
	for from := 0; from < 5; from += 2 {
		leased, err := h.LeaseOutbox(h.Context(), longAgo, time.Hour, 2)
		var got []string
		for _, r := range leased {
			got = append(got, r.ID)
		}
		if want := ids[from:min(from+2, 5)]; err != nil || !slices.Equal(got, want) {
			h.Errorf("leased %v (%v), want %v", got, err, want)
		}
	}
}

func outboxLease(h *house) {
	h.sample(1_000)
	for i := range 40 {
		h.place(fmt.Sprint(i))
	}
	// A round that gets nothing while rows are left has lost them to another relay, which has got at least one. So this many rounds
	// get every row, and a relay for which there are none, or for which they never end, fails the test.
	const count, rounds, limit = 4, 80, 7
	var relays gang
	leased := make(chan string, count*rounds*limit)
	for range count {
		relay := h.connect(Rules())
		relays.Go(func() error {
			for range rounds {
				receipts, err := relay.LeaseOutbox(h.Context(), longAgo, time.Hour, limit)
				for _, r := range receipts {
					leased <- r.ID
				}
				if err != nil || len(receipts) == 0 && len(leased) >= 40 {
					return err
				}
			}
			return nil
		})
	}
	h.wait(&relays)
	close(leased)
	seen := map[string]int{}
	for id := range leased {
		seen[id]++
	}
	for id, n := range seen {
		if n > 1 {
			h.Errorf("receipt %s was leased %d times", id, n)
		}
	}
	if len(seen) != 40 {
		h.Errorf("%d receipts were leased, want 40", len(seen))
	}
}

func outboxRide(h *house) {
	h.sample(10)
	_, first, err := h.CreateOrders(h.Context(), []order.Draft{h.draft(1, "a", 1, 1)})
	if err != nil {
		h.Fatal(err)
	}
	h.MarkPublished([]string{first.ID})
	if got := Figure(h, h.Store, 8, "unpublished"); got != 1 {
		h.Errorf("%d owed before the next write, want 1", got)
	}
	o := h.place("b")
	if got := Figure(h, h.Store, 8, "unpublished"); got != 1 {
		h.Errorf("%d owed after the next write, want its own alone", got)
	}
	h.claim(o.ID) // owes nothing
	if err := h.FlushPublished(h.Context()); err != nil {
		h.Error(err)
	}
	if got := h.owed(longAgo); len(got) != 1 || got[0].ID == first.ID {
		h.Errorf("owed: %v", got)
	}
}

func outboxRun(h *house) {
	h.sample(10)
	_, receipt, err := h.CreateOrders(h.Context(), []order.Draft{h.draft(1, "a", 1, 1)})
	if err != nil {
		h.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.Context())
	h.MarkPublished([]string{receipt.ID})
	stop()
	if err := h.Store.Run(ctx); err != nil {
		h.Error(err)
	}
	if got := h.owed(longAgo); len(got) != 0 {
		h.Errorf("owed after the end: %v", got)
	}
}

func outboxWide(h *house) {
	h.sample(1_000)
	var drafts []order.Draft
	for i := range 300 {
		drafts = append(drafts, h.draft(int64(i%3+1), fmt.Sprint(i), 1, 1))
	}
	answers := h.create(drafts...)
	var cancels []order.CancelRequest
	for i := 0; i < len(answers); i += 3 {
		cancels = append(cancels, order.CancelRequest{OrderID: answers[i].Order.ID})
	}
	if _, _, err := h.CancelOrders(h.Context(), cancels); err != nil {
		h.Fatal(err)
	}
	got := h.owed(longAgo)
	if len(got) != 2 || len(got[0].Events) != 300 || len(got[1].Events) != 100 {
		h.Fatalf("%d receipts owed", len(got))
	}
	for _, e := range got[1].Events {
		if e.Type != order.OrderCancelled || e.Seq != 2 {
			h.Errorf("a receipt of cancellations holds %+v", e)
		}
	}
}

func outboxPurge(h *house) {
	h.sample(100)
	var ids []string
	for i := range 10 {
		_, receipt, err := h.CreateOrders(h.Context(), []order.Draft{h.draft(1, fmt.Sprint(i), 1, 1)})
		if err != nil {
			h.Fatal(err)
		}
		ids = append(ids, receipt.ID)
	}
	h.MarkPublished(ids[:7])
	if err := h.FlushPublished(h.Context()); err != nil {
		h.Fatal(err)
	}
	for _, want := range []int{5, 2, 0} {
		if n, err := h.PurgeOutbox(h.Context(), longAgo, 5); err != nil || n != want {
			h.Errorf("purged %d, want %d (%v)", n, want, err)
		}
	}
	if got := h.owed(longAgo); len(got) != 3 {
		h.Errorf("%d still owed, want 3", len(got))
	}
}
