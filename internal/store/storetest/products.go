package storetest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var productTests = map[string]func(*testEnv){
	"new products, once a key":                       addOnce,
	"many new products in one transaction":           addMany,
	"a new product is sold at once":                  addAndSell,
	"changes count for the next order":               changeNext,
	"changes of many products":                       changeMany,
	"a restock, once a key":                          restockOnce,
	"a restock never goes below zero":                restockBelow,
	"restocks by the hundreds":                       restockMany,
	"keys are as long as they may be":                restockLongKeys,
	"one key from two processes":                     restockRace,
	"restocks, orders and cancels at once":           restockAll,
	"figures of an empty database and of a busy one": statsOf,
	"failed jobs by page, open ones first":           jobPages,
}

func (env *testEnv) productDraft(key, name string, price order.Money, stock int64) order.ProductDraft {
	env.Helper()
	d, err := order.NewProductDraft(nil, key, name, price, stock, true)
	if err != nil {
		env.Fatal(err)
	}
	d.Actor = "token:3"
	return d
}

func (env *testEnv) add(drafts ...order.ProductDraft) []order.Added {
	env.Helper()
	answers, err := env.CreateProducts(env.Context(), drafts)
	if err != nil || len(answers) != len(drafts) {
		env.Fatalf("%d answers to %d new products, %v", len(answers), len(drafts), err)
	}
	return answers
}

func (env *testEnv) restock(product, quantity int64, key string) order.Restock {
	env.Helper()
	r, err := order.NewRestock(nil, product, quantity, "delivery", key)
	if err != nil {
		env.Fatal(err)
	}
	r.Actor = "token:3"
	return r
}

func (env *testEnv) move(restocks ...order.Restock) []order.Restocked {
	env.Helper()
	answers, err := env.Restock(env.Context(), restocks)
	if err != nil || len(answers) != len(restocks) {
		env.Fatalf("%d answers to %d restocks, %v", len(answers), len(restocks), err)
	}
	return answers
}

// product reads one product back.
func (env *testEnv) product(id int64) order.Product {
	env.Helper()
	products, err := env.Products(env.Context())
	if err != nil {
		env.Fatal(err)
	}
	for _, p := range products {
		if p.ID == id {
			return p
		}
	}
	env.Fatalf("no product %d", id)
	return order.Product{}
}

func addOnce(env *testEnv) {
	env.sample(10)
	drafts := []order.ProductDraft{
		env.productDraft("b", "Ünlü 😀", 29_97, 7), env.productDraft("a", "Nothing yet", 1, 0), env.productDraft("b", "Ünlü 😀", 29_97, 7),
		env.productDraft("b", "Another", 29_97, 7),
	}
	answers := env.add(drafts...)
	for i, want := range []order.Code{"", "", "", order.CodeKeyReused} {
		env.wantCode(answers[i].Err, want)
	}
	first := *answers[0].Product
	if first.ID == 0 || first.ID == answers[1].Product.ID || first.Stock != 7 || first.Currency != "USD" || !first.Active || first.CreatedAt.IsZero() ||
		answers[0].Replayed || !answers[2].Replayed || answers[2].Product.ID != first.ID {
		env.Errorf("answers %+v, %+v", first, answers)
	}
	for _, a := range answers[:2] {
		if diff := cmp.Diff(*a.Product, env.product(a.Product.ID)); diff != "" {
			env.Errorf("the product is not as it was answered (-answered +read):\n%s", diff)
		}
	}
	// Asked again after it was sold and renamed, it is answered as it is now.
	env.create(env.draft(1, "k", first.ID, 2))
	name := "Renamed"
	if _, err := env.ChangeProducts(env.Context(), []order.ProductChange{{ProductID: first.ID, Name: &name}}); err != nil {
		env.Fatal(err)
	}
	again := env.add(drafts...)
	if !again[0].Replayed || again[0].Product.Name != name || again[0].Product.Stock != 5 || again[0].Product.ID != first.ID || !again[1].Replayed {
		env.Errorf("again: %+v", again)
	}
	env.wantCode(again[3].Err, order.CodeKeyReused)
	// The keys of other kinds of movements are other keys.
	if r := env.move(env.restock(first.ID, 1, "b"))[0]; r.Err != nil || r.Replayed {
		env.Errorf("a restock under the key of a product: %+v", r)
	}
	if answers, err := env.CreateProducts(env.Context(), nil); err != nil || len(answers) != 0 {
		env.Errorf("no products: %v, %v", answers, err)
	}
	env.checkInvariants()
}

func addMany(env *testEnv) {
	var drafts []order.ProductDraft
	for i := range 150 {
		drafts = append(drafts, env.productDraft(fmt.Sprint("k", i), fmt.Sprint("Product ", i), order.Money(i+1), int64(i)))
	}
	for run := range 2 {
		seen := map[int64]bool{}
		for i, a := range env.add(drafts...) {
			if a.Err != nil || a.Replayed != (run == 1) || a.Product.Name != drafts[i].Name || a.Product.Stock != int64(i) || seen[a.Product.ID] {
				env.Fatalf("run %d, product %d: %+v, %+v", run, i, a, a.Product)
			}
			seen[a.Product.ID] = true
		}
	}
	env.checkInvariants()
}

func addAndSell(env *testEnv) {
	env.sample(10)
	id := env.add(env.productDraft("k", "New", 5_00, 3))[0].Product.ID
	if _, known, err := env.Existing(env.Context(), nil, []int64{id}); err != nil || !known[id] {
		env.Errorf("the new product is not known, %v", err)
	}
	answers := env.create(env.draft(1, "a", id, 2, 1, 1), env.draft(1, "b", id, 2))
	if answers[0].Err != nil || answers[0].Order.Items[1].UnitPrice != 5_00 {
		env.Errorf("%+v", answers[0])
	}
	env.wantCode(answers[1].Err, order.CodeInsufficientStock)
	env.checkInvariants()
}

func changeNext(env *testEnv) {
	env.sample(10)
	before := env.place("before")
	price, name, no, yes := order.Money(1_50), "Cheap Laptop", false, true
	change := func(c order.ProductChange) order.ProductAnswer {
		env.Helper()
		answers, err := env.ChangeProducts(env.Context(), []order.ProductChange{{ProductID: 777, Active: &no}, c})
		if err != nil {
			env.Fatal(err)
		}
		env.wantCode(answers[0].Err, order.CodeNotFound)
		if diff := cmp.Diff(env.product(c.ProductID), answers[1].Product); diff != "" {
			env.Errorf("the product is not as it was answered (-read +answered):\n%s", diff)
		}
		return answers[1]
	}
	if p := change(order.ProductChange{ProductID: 1, Price: &price, Name: &name}).Product; p.Price != price || p.Name != name || p.Stock != 9 || !p.Active {
		env.Errorf("changed to %+v", p)
	}
	if o := env.place("cheap"); o.Total != price {
		env.Errorf("the next order costs %s", o.Total)
	}
	if o := env.read(before.ID); o.Total != before.Total || o.Items[0].UnitPrice != before.Total {
		env.Errorf("an earlier order costs %s now", o.Total)
	}
	change(order.ProductChange{ProductID: 1, Active: &no})
	change(order.ProductChange{ProductID: 1, Active: &no}) // again
	refused := env.create(env.draft(1, "stopped", 1, 1))[0]
	env.wantCode(refused.Err, order.CodeProductInactive)
	if replay := env.create(env.draft(1, "cheap", 1, 1))[0]; replay.Err != nil || !replay.Replayed {
		env.Errorf("an order from before the stop, repeated: %+v", replay)
	}
	if r := env.move(env.restock(1, 2, "r"))[0]; r.Err != nil || r.Product.Stock != 10 || r.Product.Active {
		env.Errorf("a restock of what is not sold: %+v", r)
	}
	change(order.ProductChange{ProductID: 1, Active: &yes})
	env.place("stopped")
	if answers, err := env.ChangeProducts(env.Context(), nil); err != nil || len(answers) != 0 {
		env.Errorf("no changes: %v, %v", answers, err)
	}
	env.checkInvariants()
}

func changeMany(env *testEnv) {
	if err := env.Seed(env.Context(), store.SeedPlan{Products: 90}); err != nil {
		env.Fatal(err)
	}
	var changes []order.ProductChange
	for i := range 90 {
		price := order.Money(1_00 + i)
		changes = append(changes, order.ProductChange{ProductID: int64(90 - i), Price: &price})
	}
	answers, err := env.ChangeProducts(env.Context(), changes)
	if err != nil {
		env.Fatal(err)
	}
	for i, a := range answers {
		if a.Err != nil || a.Product.Price != *changes[i].Price || a.Product.ID != changes[i].ProductID {
			env.Errorf("answer %d: %+v", i, a)
		}
	}
	products, err := env.Products(env.Context())
	if err != nil || products[89].Price != 1_00 || products[0].Price != 1_89 {
		env.Errorf("%+v, %+v, %v", products[89], products[0], err)
	}
	env.checkInvariants()
}

func restockOnce(env *testEnv) {
	env.sample(10)
	restocks := []order.Restock{env.restock(2, 5, "b"), env.restock(1, -3, "a"), env.restock(777, 5, "c"), env.restock(2, 5, "b"), env.restock(2, 6, "b")}
	answers := env.move(restocks...)
	for i, want := range []order.Code{"", "", order.CodeNotFound, "", order.CodeKeyReused} {
		env.wantCode(answers[i].Err, want)
	}
	first := answers[0]
	if first.Product.Stock != 15 || first.Replayed || !answers[3].Replayed || first.Movement.Actor != "token:3" || first.Movement.At.IsZero() ||
		answers[1].Product.Stock != 7 || first.Movement != answers[3].Movement {
		env.Errorf("answers %+v", answers)
	}
	env.create(env.draft(1, "k", 2, 4))
	restocks[0].Actor = "token:4" // a repetition by another caller
	again := env.move(restocks[0])[0]
	if !again.Replayed || again.Err != nil || again.Product.Stock != 11 {
		env.Errorf("again: %+v", again)
	}
	if diff := cmp.Diff(first.Movement, again.Movement); diff != "" {
		env.Errorf("the movement is not as it was answered (-answered +read):\n%s", diff)
	}
	if r := env.move(env.restock(1, 1, "c"))[0]; r.Err != nil { // a refused key is free
		env.Error(r.Err)
	}
	if env.stock(1) != 8 || env.stock(2) != 11 {
		env.Errorf("stock %d and %d", env.stock(1), env.stock(2))
	}
	if answers, err := env.Restock(env.Context(), nil); err != nil || len(answers) != 0 {
		env.Errorf("no restocks: %v, %v", answers, err)
	}
	env.checkInvariants()
}

func restockBelow(env *testEnv) {
	env.sample(10)
	env.create(env.draft(1, "k", 1, 4))
	answers := env.move(env.restock(1, -7, "a"), env.restock(1, -6, "b"), env.restock(1, -1, "c"), env.restock(2, 1, "d"))
	for i, want := range []order.Code{order.CodeInsufficientStock, "", order.CodeInsufficientStock, ""} {
		env.wantCode(answers[i].Err, want)
	}
	if e := coded(answers[0].Err); e.ProductID != 1 || e.Requested != 7 || e.Available != 6 {
		env.Errorf("refused with %+v", e)
	}
	if env.stock(1) != 0 || env.stock(2) != 11 {
		env.Errorf("stock %d and %d", env.stock(1), env.stock(2))
	}
	env.checkInvariants()
}

func restockMany(env *testEnv) {
	env.sample(10)
	var restocks []order.Restock
	for i := range 300 {
		restocks = append(restocks, env.restock(int64(i%5+1), int64(i%7-2)*2+1, fmt.Sprint("k", i)))
	}
	for run := range 2 {
		for i, a := range env.move(restocks...) {
			if a.Err != nil || a.Replayed != (run == 1) || a.Movement.Quantity != restocks[i].Quantity {
				env.Fatalf("run %d, restock %d: %+v", run, i, a)
			}
		}
	}
	env.checkInvariants()
}

func restockLongKeys(env *testEnv) {
	env.sample(10)
	long := strings.Repeat("😀", order.MaxKeyLength-1)
	keys := []string{long + "😀", long + "😁", long, "k", "K", "k ", "ｋ"}
	for run := range 2 {
		for _, key := range keys {
			if r := env.move(env.restock(1, 1, key))[0]; r.Err != nil || r.Replayed != (run == 1) {
				env.Errorf("run %d, key %q: %+v", run, key, r)
			}
			if a := env.add(env.productDraft(key, "New", 1, 1))[0]; a.Err != nil || a.Replayed != (run == 1) {
				env.Errorf("run %d, key %q: %+v", run, key, a)
			}
		}
	}
	if got := env.stock(1); got != 10+int64(len(keys)) {
		env.Errorf("stock %d", got)
	}
	env.checkInvariants()
}

func restockRace(env *testEnv) {
	env.sample(100)
	const keys, racers = 10, 6
	handles := []*store.Store{env.Store, env.connect(Rules())}
	var moved, added [keys]atomic.Int64
	var g gang
	for racer := range racers {
		g.Go(func() error {
			for k := range keys {
				restock, draft := env.restock(int64(k%5+1), -1, fmt.Sprint("k", k)), env.productDraft(fmt.Sprint("k", k), "New", 1, 1)
				moves, err := handles[racer%2].Restock(env.Context(), []order.Restock{restock})
				if err != nil || moves[0].Err != nil {
					return fmt.Errorf("restock: %+v, %w", moves, err)
				}
				adds, err := handles[racer%2].CreateProducts(env.Context(), []order.ProductDraft{draft})
				if err != nil || adds[0].Err != nil {
					return fmt.Errorf("new product: %+v, %w", adds, err)
				}
				if !moves[0].Replayed {
					moved[k].Add(1)
				}
				if !adds[0].Replayed {
					added[k].Add(1)
				}
			}
			return nil
		})
	}
	env.wait(&g)
	for k := range keys {
		if moved[k].Load() != 1 || added[k].Load() != 1 {
			env.Errorf("key %d: %d restocks and %d products were answered as new", k, moved[k].Load(), added[k].Load())
		}
	}
	products, err := env.Products(env.Context())
	if err != nil || len(products) != 5+keys || products[0].Stock != 98 {
		env.Errorf("%d products, the first has %d, %v", len(products), products[0].Stock, err)
	}
	env.checkInvariants()
}

// restockAll takes units out while they are sold and given back.
func restockAll(env *testEnv) {
	env.sample(30)
	handles := []*store.Store{env.Store, env.connect(Rules())}
	var g gang
	for worker := range 4 {
		s := handles[worker%2]
		g.Go(func() error {
			for i := range 12 {
				answers, _, err := s.CreateOrders(env.Context(), []order.Draft{env.draft(1, fmt.Sprint(worker, "-", i), 1, 2, 2, 1)})
				if err != nil {
					return err
				}
				if o := answers[0].Order; o != nil && i%3 == 0 {
					if _, _, err := s.CancelOrders(env.Context(), []order.CancelRequest{{OrderID: o.ID}}); err != nil {
						return err
					}
				}
				if _, err := s.Restock(env.Context(), []order.Restock{
					env.restock(2, int64(i%5-3)*2+1, fmt.Sprint("r", worker, "-", i)), env.restock(1, -1, fmt.Sprint("s", worker, "-", i)),
				}); err != nil {
					return err
				}
				active := i%4 != 0
				if _, err := s.ChangeProducts(env.Context(), []order.ProductChange{{ProductID: 2, Active: &active}, {ProductID: 1, Active: &active}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	env.wait(&g)
	env.checkInvariants()
}

func statsOf(env *testEnv) {
	stats := func(env *testEnv) order.Stats {
		env.Helper()
		s, err := env.Stats(env.Context())
		if err != nil {
			env.Fatal(err)
		}
		if s.At.IsZero() {
			env.Error("the figures have no time")
		}
		s.At = time.Time{}
		return s
	}
	zero := map[order.Status]int64{order.Pending: 0, order.Processing: 0, order.Paid: 0, order.Failed: 0, order.Cancelled: 0}
	if diff := cmp.Diff(order.Stats{ByStatus: zero}, stats(env)); diff != "" {
		env.Errorf("an empty database (-want +got):\n%s", diff)
	}
	env = env.under(AtOnce())
	env.sample(1)
	aLittle := func(d time.Duration) bool { return d > 0 && d < time.Hour }
	placed := env.create(env.draft(1, "a", 1, 1), env.draft(1, "b", 2, 1), env.draft(1, "c", 3, 1)) // due at once
	dead, paid, waiting := placed[0].Order.ID, placed[1].Order.ID, placed[2].Order.ID
	env.settle(report(env.claim(paid), order.KindCharge, order.Succeeded))
	env.exhaustAttempts(dead)
	s := stats(env)
	if s.ByStatus[order.Pending] != 1 || s.ByStatus[order.Processing] != 1 || s.ByStatus[order.Paid] != 1 || s.Due != 1 || s.Overdue != 1 ||
		!aLittle(s.LongestOverdue) || s.FailedJobs != 1 || s.Unpublished != 2 || !aLittle(s.OldestUnpublished) || s.Products != 5 || s.SoldOut != 3 {
		env.Errorf("a busy database: %+v", s)
	}
	for _, batch := range env.unpublished(longAgo) {
		env.MarkPublished([]string{batch.ID})
	}
	if err := env.FlushPublished(env.Context()); err != nil {
		env.Fatal(err)
	}
	if s := stats(env); s.Unpublished != 0 || s.OldestUnpublished != 0 {
		env.Errorf("all is published: %+v", s)
	}
	later := env.under(Rules())
	if _, err := later.RetryOrders(env.Context(), []int64{dead}); err != nil {
		env.Fatal(err)
	}
	later.claim(dead)
	later.claim(waiting)
	if s := stats(env); s.Due != 2 || s.Overdue != 0 || s.LongestOverdue != 0 || s.FailedJobs != 0 || s.ByStatus[order.Processing] != 2 {
		env.Errorf("claimed under long leases: %+v", s)
	}
	env.checkInvariants()
}

func jobPages(env *testEnv) {
	env = env.under(AtOnce())
	env.sample(10)
	if page, err := env.FailedJobPage(env.Context(), 1, 5); err != nil || len(page.Jobs) != 0 || page.Total != 0 {
		env.Errorf("no failed jobs: %+v, %v", page, err)
	}
	for i := range 5 {
		env.exhaustAttempts(env.place(fmt.Sprint(i)).ID)
	}
	jobs, err := env.FailedJobs(env.Context(), false, 10)
	if err != nil || len(jobs) != 5 {
		env.Fatal(jobs, err)
	}
	if _, err := env.RetryOrders(env.Context(), []int64{jobs[0].OrderID, jobs[2].OrderID}); err != nil {
		env.Fatal(err)
	}
	want := []int64{jobs[1].ID, jobs[3].ID, jobs[4].ID, jobs[0].ID, jobs[2].ID}
	var got []int64
	for page := 1; page <= 4; page++ {
		p, err := env.FailedJobPage(env.Context(), page, 2)
		if err != nil || p.Total != 5 {
			env.Errorf("page %d: %+v, %v", page, p, err)
		}
		for _, j := range p.Jobs {
			got = append(got, j.ID)
			if (j.Resolution == "") != (len(got) <= 3) || j.OrderID == 0 || j.Error == "" {
				env.Errorf("job %+v", j)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		env.Errorf("by page (-want +got):\n%s", diff)
	}
	env.checkInvariants()
}
