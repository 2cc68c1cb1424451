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

var raceTests = map[string]func(*testEnv){
	"one order a key, from two processes":  raceKeys,
	"the last piece is sold once":          raceLast,
	"everything at once":                   raceAll,
	"the invariants hold under load":       raceAudit,
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

func (env *testEnv) wait(g *gang) {
	env.Helper()
	g.Wait()
	if err := errors.Join(g.faults...); err != nil {
		env.Fatal(err)
	}
}

func raceKeys(env *testEnv) {
	env.sample(10_000)
	const keys, racers = 20, 6
	handles := []*store.Store{env.Store, env.connect(Rules())}
	var ids [keys]sync.Map
	var made [keys]atomic.Int64
	var g gang
	for racer := range racers {
		var drafts []order.Draft
		for k := range keys {
			drafts = append(drafts, env.draft(1, fmt.Sprint("k", k), 1, 1))
		}
		g.Go(func() error {
			for from := 0; from < keys; from += 5 { // in batches, so that keys are taken between a batch's read and its write
				batch := drafts[from : from+5]
				answers, _, err := handles[racer%2].CreateOrders(env.Context(), batch)
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
	env.wait(&g)
	for k := range keys {
		n := 0
		ids[k].Range(func(any, any) bool { n++; return true })
		if n != 1 || made[k].Load() != 1 {
			env.Errorf("key %d: %d orders, %d answered as new", k, n, made[k].Load())
		}
	}
	if got := env.stock(1); got != 10_000-keys {
		env.Errorf("stock %d", got)
	}
	env.checkInvariants()
}

func raceLast(env *testEnv) {
	env.sample(7)
	handles := []*store.Store{env.Store, env.connect(Rules())}
	var sold atomic.Int64
	var g gang
	for buyer := range 8 {
		d := []order.Draft{env.draft(1, fmt.Sprint("a", buyer), 5, 1), env.draft(2, fmt.Sprint("b", buyer), 5, 2)}
		g.Go(func() error {
			answers, _, err := handles[buyer%2].CreateOrders(env.Context(), d)
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
	env.wait(&g)
	if sold.Load() != 7 || env.stock(5) != 0 {
		env.Errorf("%d of 7 units were sold, %d are left", sold.Load(), env.stock(5))
	}
	env.checkInvariants()
}

func raceCancel(env *testEnv) {
	env.sample(1_000)
	var g gang
	for i := range 20 {
		o := env.place(fmt.Sprint(i))
		var claimed, cancelled atomic.Bool
		g.Go(func() error {
			answers, _, err := env.ClaimOrders(env.Context(), []order.ClaimRequest{{OrderID: o.ID}})
			if err == nil {
				claimed.Store(answers[0].Task == order.TaskCharge)
			}
			return err
		})
		g.Go(func() error {
			answers, _, err := env.CancelOrders(env.Context(), []order.CancelRequest{{OrderID: o.ID}})
			if err == nil {
				cancelled.Store(answers[0].Err == nil)
			}
			return err
		})
		env.wait(&g)
		if claimed.Load() == cancelled.Load() {
			env.Errorf("order %d: claimed %t, cancelled %t", o.ID, claimed.Load(), cancelled.Load())
		}
	}
	env.checkInvariants()
}

// client does what one customer and one worker do, at random.
type client struct {
	*store.Store
	rng    *rand.Rand
	drafts []order.Draft
	ids    *sync.Map // of all orders, of all clients
}

func (c *client) step(env *testEnv) error {
	ctx := env.Context()
	switch c.rng.IntN(5) {
	case 0, 1:
		answers, batch, err := c.CreateOrders(ctx, c.drafts[:min(8, len(c.drafts))])
		c.drafts = c.drafts[min(8, len(c.drafts)):]
		for _, a := range answers {
			if a.Order != nil {
				c.ids.Store(a.Order.ID, nil)
			}
		}
		if batch.ID != "" {
			c.MarkPublished([]string{batch.ID})
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
		return c.work(env, requests)
	default:
		due, err := c.DueOrders(ctx, 10)
		if err != nil {
			return err
		}
		return c.work(env, due)
	}
}

// some is a few ids of orders, at random, some of them duplicates.
func (c *client) some(n int) (ids []int64) {
	c.ids.Range(func(id, _ any) bool {
		if c.rng.IntN(3) == 0 {
			ids = append(ids, id.(int64))
		}
		return len(ids) < n
	})
	return append(ids, ids[:len(ids)/2]...)
}

func (c *client) work(env *testEnv, requests []order.ClaimRequest) error {
	claims, _, err := c.ClaimOrders(env.Context(), requests)
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
	_, _, err = c.SettleOrders(env.Context(), reports)
	return err
}

// crowd lets clients work on two handles until all of their drafts are used up.
func (env *testEnv) crowd(g *gang, clients, each int) {
	handles := []*store.Store{env.connect(AtOnce()), env.connect(Rules())}
	var ids sync.Map
	for i := range clients {
		c := &client{Store: handles[i%2], rng: rand.New(rand.NewPCG(7, uint64(i))), ids: &ids}
		for k := range each {
			c.drafts = append(c.drafts, env.draft(int64(c.rng.IntN(3)+1), fmt.Sprint(i%3, "-", k), int64(c.rng.IntN(5)+1), int64(c.rng.IntN(3)+1)))
		}
		g.Go(func() error {
			for len(c.drafts) > 0 {
				if err := c.step(env); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func raceAll(env *testEnv) {
	env.sample(60)
	var g gang
	env.crowd(&g, 6, 60)
	env.wait(&g)
	if got := Figure(env, env.Store, 3, "orders"); got < 60 {
		env.Errorf("only %d orders came of it", got)
	}
	if got := Figure(env, env.Store, 5, "paid orders"); got == 0 {
		env.Error("none was paid")
	}
	env.checkInvariants()
}

func raceAudit(env *testEnv) {
	env.sample(500)
	var g gang
	env.crowd(&g, 3, 60)
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	for audits := 0; ; audits++ {
		if !env.Failed() {
			env.checkInvariants()
		}
		select {
		case <-done:
			env.wait(&g)
			if audits < 2 && !env.Failed() {
				env.Errorf("only %d audits fitted in", audits)
			}
			return
		default:
		}
	}
}
