package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var raceTests = map[string]func(*house){
	"one order a key, from two processes":  raceKeys,
	"the last piece is sold once":          raceLast,
	"everything at once":                   raceAll,
	"the books add up under load":          raceAudit,
	"a claim and a cancel: one of the two": raceCancel,
}

// gang is goroutines that may fail.
type gang struct {
	sync.WaitGroup
	lock   sync.Mutex
	faults []error
}

// Go runs work in a goroutine of its own.
func (g *gang) Go(work func() error) {
	g.WaitGroup.Go(func() {
		if err := work(); err != nil {
			g.lock.Lock()
			defer g.lock.Unlock()
			g.faults = append(g.faults, err)
		}
	})
}

func (h *house) wait(g *gang) {
	h.Helper()
	g.Wait()
	if err := errors.Join(g.faults...); err != nil {
		h.Fatal(err)
	}
}

func raceKeys(h *house) {
	h.sample(10_000)
	const keys, racers = 20, 6
	handles := []*store.Store{h.Store, h.connect(Rules())}
	var ids [keys]sync.Map
	var made [keys]atomic.Int64
	var g gang
	for racer := range racers {
		var drafts []order.Draft
		for k := range keys {
			drafts = append(drafts, h.draft(1, fmt.Sprint("k", k), 1, 1))
		}
		g.Go(func() error {
			for from := 0; from < keys; from += 5 { // in batches, so that keys are taken between a batch's read and its write
				batch := drafts[from : from+5]
				answers, _, err := handles[racer%2].CreateOrders(h.Context(), batch)
				if err != nil {
					return err
				}
				for i, a := range answers {
					if a.Err != nil {
						return a.Err
					}
					ids[from+i].Store(a.Order.ID, nil)
					if !a.Replayed {
						made[from+i].Add(1)
					}
				}
			}
			return nil
		})
	}
	h.wait(&g)
	for k := range keys {
		n := 0
		ids[k].Range(func(any, any) bool { n++; return true })
		if n != 1 || made[k].Load() != 1 {
			h.Errorf("key %d: %d orders, %d answered as new", k, n, made[k].Load())
		}
	}
	if got := h.stock(1); got != 10_000-keys {
		h.Errorf("stock %d", got)
	}
	h.books()
}

func raceLast(h *house) {
	h.sample(7)
	handles := []*store.Store{h.Store, h.connect(Rules())}
	var sold atomic.Int64
	var g gang
	for buyer := range 8 {
		d := []order.Draft{h.draft(1, fmt.Sprint("a", buyer), 5, 1), h.draft(2, fmt.Sprint("b", buyer), 5, 2)}
		g.Go(func() error {
			answers, _, err := handles[buyer%2].CreateOrders(h.Context(), d)
			for i, a := range answers {
				switch order.CodeOf(a.Err) {
				case "":
					sold.Add(int64(i + 1))
				case order.CodeInsufficientStock:
				default:
					return a.Err
				}
			}
			return err
		})
	}
	h.wait(&g)
	if sold.Load() != 7 || h.stock(5) != 0 {
		h.Errorf("%d of 7 pieces were sold, %d are left", sold.Load(), h.stock(5))
	}
	h.books()
}

func raceCancel(h *house) {
	h.sample(1_000)
	var g gang
	for i := range 20 {
		o := h.place(fmt.Sprint(i))
		var claimed, cancelled atomic.Bool
		g.Go(func() error {
			answers, _, err := h.ClaimOrders(h.Context(), []order.ClaimRequest{{OrderID: o.ID}})
			if err == nil {
				claimed.Store(answers[0].Task == order.TaskCharge)
			}
			return err
		})
		g.Go(func() error {
			answers, _, err := h.CancelOrders(h.Context(), []order.CancelRequest{{OrderID: o.ID}})
			if err == nil {
				cancelled.Store(answers[0].Err == nil)
			}
			return err
		})
		h.wait(&g)
		if claimed.Load() == cancelled.Load() {
			h.Errorf("order %d: claimed %t, cancelled %t", o.ID, claimed.Load(), cancelled.Load())
		}
	}
	h.books()
}

// client does what one customer and one worker do, at random.
type client struct {
	*store.Store
	rng    *rand.Rand
	drafts []order.Draft
	ids    *sync.Map // of all orders, of all clients
}

func (c *client) step(h *house) error {
	ctx := h.Context()
	switch c.rng.IntN(5) {
	case 0, 1:
		answers, receipt, err := c.CreateOrders(ctx, c.drafts[:min(8, len(c.drafts))])
		c.drafts = c.drafts[min(8, len(c.drafts)):]
		for _, a := range answers {
			if a.Order != nil {
				c.ids.Store(a.Order.ID, nil)
			}
		}
		if receipt.ID != "" {
			c.MarkPublished([]string{receipt.ID})
		}
		return err
	case 2:
		var requests []order.CancelRequest
		for _, id := range c.some(3) {
			requests = append(requests, order.CancelRequest{OrderID: id})
		}
		_, _, err := c.CancelOrders(ctx, requests)
		return err
	case 3:
		var requests []order.ClaimRequest
		for _, id := range c.some(12) {
			requests = append(requests, order.ClaimRequest{OrderID: id, Abandon: c.rng.IntN(8) == 0})
		}
		return c.work(h, requests)
	default:
		due, err := c.DueOrders(ctx, 10)
		if err != nil {
			return err
		}
		return c.work(h, due)
	}
}

// some is a few ids of orders, as chance has it, some of them twice.
func (c *client) some(n int) (ids []int64) {
	c.ids.Range(func(id, _ any) bool {
		if c.rng.IntN(3) == 0 {
			ids = append(ids, id.(int64))
		}
		return len(ids) < n
	})
	return append(ids, ids[:len(ids)/2]...)
}

func (c *client) work(h *house, requests []order.ClaimRequest) error {
	claims, _, err := c.ClaimOrders(h.Context(), requests)
	if err != nil {
		return err
	}
	var reports []order.Settlement
	outcomes := []order.Outcome{order.Succeeded, order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack}
	for _, claim := range claims {
		switch claim.Task {
		case order.TaskCharge:
			reports = append(reports, report(claim, order.KindCharge, outcomes[c.rng.IntN(len(outcomes))]))
		case order.TaskVoid:
			reports = append(reports, report(claim, order.KindVoid, []order.Outcome{order.Succeeded, order.NoAnswer}[c.rng.IntN(2)]))
		}
	}
	_, _, err = c.SettleOrders(h.Context(), reports)
	return err
}

// crowd lets clients work on two handles until all of their drafts are used up.
func (h *house) crowd(g *gang, clients, each int) {
	handles := []*store.Store{h.connect(AtOnce()), h.connect(Rules())}
	var ids sync.Map
	for i := range clients {
		c := &client{Store: handles[i%2], rng: rand.New(rand.NewPCG(7, uint64(i))), ids: &ids}
		for k := range each {
			c.drafts = append(c.drafts, h.draft(int64(c.rng.IntN(3)+1), fmt.Sprint(i%3, "-", k), int64(c.rng.IntN(5)+1), int64(c.rng.IntN(3)+1)))
		}
		g.Go(func() error {
			for len(c.drafts) > 0 {
				if err := c.step(h); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func raceAll(h *house) {
	h.sample(60)
	var g gang
	h.crowd(&g, 6, 60)
	h.wait(&g)
	if got := Figure(h, h.Store, 3, "orders"); got < 60 {
		h.Errorf("only %d orders came of it", got)
	}
	if got := Figure(h, h.Store, 5, "paid orders"); got == 0 {
		h.Error("none was paid")
	}
	h.books()
}

func raceAudit(h *house) {
	h.sample(500)
	var g gang
	h.crowd(&g, 3, 60)
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	for audits := 0; ; audits++ {
		if !h.Failed() {
			h.books()
		}
		select {
		case <-done:
			h.wait(&g)
			if audits < 2 && !h.Failed() {
				h.Errorf("only %d audits fitted in", audits)
			}
			return
		default:
		}
	}
}
