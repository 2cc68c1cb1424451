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

var catalogueTests = map[string]func(*house){
	"new products, once a key":                   addOnce,
	"many new products in one transaction":       addMany,
	"a new product is sold at once":              addAndSell,
	"changes count for the next order":           changeNext,
	"changes of many products":                   changeMany,
	"a restock, once a key":                      restockOnce,
	"a restock never goes below zero":            restockBelow,
	"restocks by the hundreds":                   restockMany,
	"keys are as long as they may be":            restockLongKeys,
	"one key from two processes":                 restockRace,
	"restocks, orders and cancels at once":       restockAll,
	"figures of an empty shop and of a busy one": statsOf,
	"dead letters by page, open ones first":      jobPages,
}

func (h *house) productDraft(key, name string, price order.Money, stock int64) order.ProductDraft {
	h.Helper()
	d, err := order.NewProductDraft(nil, key, name, price, stock, true)
	if err != nil {
		h.Fatal(err)
	}
	d.Actor = "token:3"
	return d
}

func (h *house) add(drafts ...order.ProductDraft) []order.Added {
	h.Helper()
	answers, err := h.CreateProducts(h.Context(), drafts)
	if err != nil || len(answers) != len(drafts) {
		h.Fatalf("%d answers to %d new products, %v", len(answers), len(drafts), err)
	}
	return answers
}

func (h *house) restock(product, quantity int64, key string) order.Restock {
	h.Helper()
	r, err := order.NewRestock(nil, product, quantity, "delivery", key)
	if err != nil {
		h.Fatal(err)
	}
	r.Actor = "token:3"
	return r
}

func (h *house) move(restocks ...order.Restock) []order.Restocked {
	h.Helper()
	answers, err := h.Restock(h.Context(), restocks)
	if err != nil || len(answers) != len(restocks) {
		h.Fatalf("%d answers to %d restocks, %v", len(answers), len(restocks), err)
	}
	return answers
}

// product reads one product back.
func (h *house) product(id int64) order.Product {
	h.Helper()
	products, err := h.Products(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	for _, p := range products {
		if p.ID == id {
			return p
		}
	}
	h.Fatalf("no product %d", id)
	return order.Product{}
}

func addOnce(h *house) {
	h.sample(10)
	drafts := []order.ProductDraft{
		h.productDraft("b", "Ünlü 😀", 29_97, 7), h.productDraft("a", "Nothing yet", 1, 0), h.productDraft("b", "Ünlü 😀", 29_97, 7),
		h.productDraft("b", "Another", 29_97, 7),
	}
	answers := h.add(drafts...)
	for i, want := range []order.Code{"", "", "", order.CodeKeyReused} {
		h.wantCode(answers[i].Err, want)
	}
	first := *answers[0].Product
	if first.ID == 0 || first.ID == answers[1].Product.ID || first.Stock != 7 || first.Currency != "USD" || !first.Active || first.CreatedAt.IsZero() ||
		answers[0].Replayed || !answers[2].Replayed || answers[2].Product.ID != first.ID {
		h.Errorf("answers %+v, %+v", first, answers)
	}
	for _, a := range answers[:2] {
		if diff := cmp.Diff(*a.Product, h.product(a.Product.ID)); diff != "" {
			h.Errorf("the product is not as it was answered (-answered +read):\n%s", diff)
		}
	}
	// Asked again after it was sold and renamed, it is answered as it is now.
	h.create(h.draft(1, "k", first.ID, 2))
	name := "Renamed"
	if _, err := h.ChangeProducts(h.Context(), []order.ProductChange{{ProductID: first.ID, Name: &name}}); err != nil {
		h.Fatal(err)
	}
	again := h.add(drafts...)
	if !again[0].Replayed || again[0].Product.Name != name || again[0].Product.Stock != 5 || again[0].Product.ID != first.ID || !again[1].Replayed {
		h.Errorf("again: %+v", again)
	}
	h.wantCode(again[3].Err, order.CodeKeyReused)
	// The keys of other kinds of movements are other keys.
	if r := h.move(h.restock(first.ID, 1, "b"))[0]; r.Err != nil || r.Replayed {
		h.Errorf("a restock under the key of a product: %+v", r)
	}
	if answers, err := h.CreateProducts(h.Context(), nil); err != nil || len(answers) != 0 {
		h.Errorf("no products: %v, %v", answers, err)
	}
	h.books()
}

func addMany(h *house) {
	var drafts []order.ProductDraft
	for i := range 150 {
		drafts = append(drafts, h.productDraft(fmt.Sprint("k", i), fmt.Sprint("Product ", i), order.Money(i+1), int64(i)))
	}
	for run := range 2 {
		seen := map[int64]bool{}
		for i, a := range h.add(drafts...) {
			if a.Err != nil || a.Replayed != (run == 1) || a.Product.Name != drafts[i].Name || a.Product.Stock != int64(i) || seen[a.Product.ID] {
				h.Fatalf("run %d, product %d: %+v, %+v", run, i, a, a.Product)
			}
			seen[a.Product.ID] = true
		}
	}
	h.books()
}

func addAndSell(h *house) {
	h.sample(10)
	id := h.add(h.productDraft("k", "New", 5_00, 3))[0].Product.ID
	if _, known, err := h.Existing(h.Context(), nil, []int64{id}); err != nil || !known[id] {
		h.Errorf("the new product is not known, %v", err)
	}
	answers := h.create(h.draft(1, "a", id, 2, 1, 1), h.draft(1, "b", id, 2))
	if answers[0].Err != nil || answers[0].Order.Items[1].UnitPrice != 5_00 {
		h.Errorf("%+v", answers[0])
	}
	h.wantCode(answers[1].Err, order.CodeInsufficientStock)
	h.books()
}

func changeNext(h *house) {
	h.sample(10)
	before := h.place("before")
	price, name, no, yes := order.Money(1_50), "Cheap Laptop", false, true
	change := func(c order.ProductChange) order.ProductAnswer {
		h.Helper()
		answers, err := h.ChangeProducts(h.Context(), []order.ProductChange{{ProductID: 777, Active: &no}, c})
		if err != nil {
			h.Fatal(err)
		}
		h.wantCode(answers[0].Err, order.CodeNotFound)
		if diff := cmp.Diff(h.product(c.ProductID), answers[1].Product); diff != "" {
			h.Errorf("the product is not as it was answered (-read +answered):\n%s", diff)
		}
		return answers[1]
	}
	if p := change(order.ProductChange{ProductID: 1, Price: &price, Name: &name}).Product; p.Price != price || p.Name != name || p.Stock != 9 || !p.Active {
		h.Errorf("changed to %+v", p)
	}
	if o := h.place("cheap"); o.Total != price {
		h.Errorf("the next order costs %s", o.Total)
	}
	if o := h.read(before.ID); o.Total != before.Total || o.Items[0].UnitPrice != before.Total {
		h.Errorf("an earlier order costs %s now", o.Total)
	}
	change(order.ProductChange{ProductID: 1, Active: &no})
	change(order.ProductChange{ProductID: 1, Active: &no}) // again
	refused := h.create(h.draft(1, "stopped", 1, 1))[0]
	h.wantCode(refused.Err, order.CodeProductInactive)
	if replay := h.create(h.draft(1, "cheap", 1, 1))[0]; replay.Err != nil || !replay.Replayed {
		h.Errorf("an order of before the stop, asked for again: %+v", replay)
	}
	if r := h.move(h.restock(1, 2, "r"))[0]; r.Err != nil || r.Product.Stock != 10 || r.Product.Active {
		h.Errorf("a restock of what is not sold: %+v", r)
	}
	change(order.ProductChange{ProductID: 1, Active: &yes})
	h.place("stopped")
	if answers, err := h.ChangeProducts(h.Context(), nil); err != nil || len(answers) != 0 {
		h.Errorf("no changes: %v, %v", answers, err)
	}
	h.books()
}

func changeMany(h *house) {
	if err := h.Seed(h.Context(), store.SeedPlan{Products: 90}); err != nil {
		h.Fatal(err)
	}
	var changes []order.ProductChange
	for i := range 90 {
		price := order.Money(1_00 + i)
		changes = append(changes, order.ProductChange{ProductID: int64(90 - i), Price: &price})
	}
	answers, err := h.ChangeProducts(h.Context(), changes)
	if err != nil {
		h.Fatal(err)
	}
	for i, a := range answers {
		if a.Err != nil || a.Product.Price != *changes[i].Price || a.Product.ID != changes[i].ProductID {
			h.Errorf("answer %d: %+v", i, a)
		}
	}
	products, err := h.Products(h.Context())
	if err != nil || products[89].Price != 1_00 || products[0].Price != 1_89 {
		h.Errorf("%+v, %+v, %v", products[89], products[0], err)
	}
	h.books()
}

func restockOnce(h *house) {
	h.sample(10)
	restocks := []order.Restock{h.restock(2, 5, "b"), h.restock(1, -3, "a"), h.restock(777, 5, "c"), h.restock(2, 5, "b"), h.restock(2, 6, "b")}
	answers := h.move(restocks...)
	for i, want := range []order.Code{"", "", order.CodeNotFound, "", order.CodeKeyReused} {
		h.wantCode(answers[i].Err, want)
	}
	first := answers[0]
	if first.Product.Stock != 15 || first.Replayed || !answers[3].Replayed || first.Movement.Actor != "token:3" || first.Movement.At.IsZero() ||
		answers[1].Product.Stock != 7 || first.Movement != answers[3].Movement {
		h.Errorf("answers %+v", answers)
	}
	h.create(h.draft(1, "k", 2, 4))
	restocks[0].Actor = "token:4" // whoever asks again
	again := h.move(restocks[0])[0]
	if !again.Replayed || again.Err != nil || again.Product.Stock != 11 {
		h.Errorf("again: %+v", again)
	}
	if diff := cmp.Diff(first.Movement, again.Movement); diff != "" {
		h.Errorf("the movement is not as it was answered (-answered +read):\n%s", diff)
	}
	if r := h.move(h.restock(1, 1, "c"))[0]; r.Err != nil { // a refused key is free
		h.Error(r.Err)
	}
	if h.stock(1) != 8 || h.stock(2) != 11 {
		h.Errorf("stock %d and %d", h.stock(1), h.stock(2))
	}
	if answers, err := h.Restock(h.Context(), nil); err != nil || len(answers) != 0 {
		h.Errorf("no restocks: %v, %v", answers, err)
	}
	h.books()
}

func restockBelow(h *house) {
	h.sample(10)
	h.create(h.draft(1, "k", 1, 4))
	answers := h.move(h.restock(1, -7, "a"), h.restock(1, -6, "b"), h.restock(1, -1, "c"), h.restock(2, 1, "d"))
	for i, want := range []order.Code{order.CodeInsufficientStock, "", order.CodeInsufficientStock, ""} {
		h.wantCode(answers[i].Err, want)
	}
	if e := coded(answers[0].Err); e.ProductID != 1 || e.Requested != 7 || e.Available != 6 {
		h.Errorf("refused with %+v", e)
	}
	if h.stock(1) != 0 || h.stock(2) != 11 {
		h.Errorf("stock %d and %d", h.stock(1), h.stock(2))
	}
	h.books()
}

func restockMany(h *house) {
	h.sample(10)
	var restocks []order.Restock
	for i := range 300 {
		restocks = append(restocks, h.restock(int64(i%5+1), int64(i%7-2)*2+1, fmt.Sprint("k", i)))
	}
	for run := range 2 {
		for i, a := range h.move(restocks...) {
			if a.Err != nil || a.Replayed != (run == 1) || a.Movement.Quantity != restocks[i].Quantity {
				h.Fatalf("run %d, restock %d: %+v", run, i, a)
			}
		}
	}
	h.books()
}

func restockLongKeys(h *house) {
	h.sample(10)
	long := strings.Repeat("😀", order.MaxKeyLength-1)
	keys := []string{long + "😀", long + "😁", long, "k", "K", "k ", "ｋ"}
	for run := range 2 {
		for _, key := range keys {
			if r := h.move(h.restock(1, 1, key))[0]; r.Err != nil || r.Replayed != (run == 1) {
				h.Errorf("run %d, key %q: %+v", run, key, r)
			}
			if a := h.add(h.productDraft(key, "New", 1, 1))[0]; a.Err != nil || a.Replayed != (run == 1) {
				h.Errorf("run %d, key %q: %+v", run, key, a)
			}
		}
	}
	if got := h.stock(1); got != 10+int64(len(keys)) {
		h.Errorf("stock %d", got)
	}
	h.books()
}

func restockRace(h *house) {
	h.sample(100)
	const keys, racers = 10, 6
	handles := []*store.Store{h.Store, h.connect(Rules())}
	var moved, added [keys]atomic.Int64
	var g gang
	for racer := range racers {
		g.Go(func() error {
			for k := range keys {
				restock, draft := h.restock(int64(k%5+1), -1, fmt.Sprint("k", k)), h.productDraft(fmt.Sprint("k", k), "New", 1, 1)
				moves, err := handles[racer%2].Restock(h.Context(), []order.Restock{restock})
				if err != nil || moves[0].Err != nil {
					return fmt.Errorf("restock: %+v, %w", moves, err)
				}
				adds, err := handles[racer%2].CreateProducts(h.Context(), []order.ProductDraft{draft})
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
	h.wait(&g)
	for k := range keys {
		if moved[k].Load() != 1 || added[k].Load() != 1 {
			h.Errorf("key %d: %d restocks and %d products were answered as new", k, moved[k].Load(), added[k].Load())
		}
	}
	products, err := h.Products(h.Context())
	if err != nil || len(products) != 5+keys || products[0].Stock != 98 {
		h.Errorf("%d products, the first has %d, %v", len(products), products[0].Stock, err)
	}
	h.books()
}

// restockAll takes pieces out while they are sold and given back.
func restockAll(h *house) {
	h.sample(30)
	handles := []*store.Store{h.Store, h.connect(Rules())}
	var g gang
	for worker := range 4 {
		s := handles[worker%2]
		g.Go(func() error {
			for i := range 12 {
				answers, _, err := s.CreateOrders(h.Context(), []order.Draft{h.draft(1, fmt.Sprint(worker, "-", i), 1, 2, 2, 1)})
				if err != nil {
					return err
				}
				if o := answers[0].Order; o != nil && i%3 == 0 {
					if _, _, err := s.CancelOrders(h.Context(), []order.CancelRequest{{OrderID: o.ID}}); err != nil {
						return err
					}
				}
				if _, err := s.Restock(h.Context(), []order.Restock{
					h.restock(2, int64(i%5-3)*2+1, fmt.Sprint("r", worker, "-", i)), h.restock(1, -1, fmt.Sprint("s", worker, "-", i)),
				}); err != nil {
					return err
				}
				active := i%4 != 0
				if _, err := s.ChangeProducts(h.Context(), []order.ProductChange{{ProductID: 2, Active: &active}, {ProductID: 1, Active: &active}}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	h.wait(&g)
	h.books()
}

func statsOf(h *house) {
	stats := func(h *house) order.Stats {
		h.Helper()
		s, err := h.Stats(h.Context())
		if err != nil {
			h.Fatal(err)
		}
		if s.At.IsZero() {
			h.Error("the figures have no time")
		}
		s.At = time.Time{}
		return s
	}
	zero := map[order.Status]int64{order.Pending: 0, order.Processing: 0, order.Paid: 0, order.Failed: 0, order.Cancelled: 0}
	if diff := cmp.Diff(order.Stats{ByStatus: zero}, stats(h)); diff != "" {
		h.Errorf("an empty shop (-want +got):\n%s", diff)
	}
	h = h.under(AtOnce())
	h.sample(1)
	aLittle := func(d time.Duration) bool { return d > 0 && d < time.Hour }
	placed := h.create(h.draft(1, "a", 1, 1), h.draft(1, "b", 2, 1), h.draft(1, "c", 3, 1)) // due at once
	dead, paid, waiting := placed[0].Order.ID, placed[1].Order.ID, placed[2].Order.ID
	h.settle(report(h.claim(paid), order.KindCharge, order.Succeeded))
	h.bury(dead)
	s := stats(h)
	if s.ByStatus[order.Pending] != 1 || s.ByStatus[order.Processing] != 1 || s.ByStatus[order.Paid] != 1 || s.Due != 1 || s.Overdue != 1 ||
		!aLittle(s.LongestOverdue) || s.FailedJobs != 1 || s.Unpublished != 2 || !aLittle(s.OldestUnpublished) || s.Products != 5 || s.SoldOut != 3 {
		h.Errorf("a busy shop: %+v", s)
	}
	for _, receipt := range h.owed(longAgo) {
		h.MarkPublished([]string{receipt.ID})
	}
	if err := h.FlushPublished(h.Context()); err != nil {
		h.Fatal(err)
	}
	if s := stats(h); s.Unpublished != 0 || s.OldestUnpublished != 0 {
		h.Errorf("nothing is owed any more: %+v", s)
	}
	later := h.under(Rules())
	if _, err := later.RetryOrders(h.Context(), []int64{dead}); err != nil {
		h.Fatal(err)
	}
	later.claim(dead)
	later.claim(waiting)
	if s := stats(h); s.Due != 2 || s.Overdue != 0 || s.LongestOverdue != 0 || s.FailedJobs != 0 || s.ByStatus[order.Processing] != 2 {
		h.Errorf("claimed under long leases: %+v", s)
	}
	h.books()
}

func jobPages(h *house) {
	h = h.under(AtOnce())
	h.sample(10)
	if page, err := h.FailedJobPage(h.Context(), 1, 5); err != nil || len(page.Jobs) != 0 || page.Total != 0 {
		h.Errorf("no dead letters: %+v, %v", page, err)
	}
	for i := range 5 {
		h.bury(h.place(fmt.Sprint(i)).ID)
	}
	jobs, err := h.FailedJobs(h.Context(), false, 10)
	if err != nil || len(jobs) != 5 {
		h.Fatal(jobs, err)
	}
	if _, err := h.RetryOrders(h.Context(), []int64{jobs[0].OrderID, jobs[2].OrderID}); err != nil {
		h.Fatal(err)
	}
	want := []int64{jobs[1].ID, jobs[3].ID, jobs[4].ID, jobs[0].ID, jobs[2].ID}
	var got []int64
	for page := 1; page <= 4; page++ {
		p, err := h.FailedJobPage(h.Context(), page, 2)
		if err != nil || p.Total != 5 {
			h.Errorf("page %d: %+v, %v", page, p, err)
		}
		for _, j := range p.Jobs {
			got = append(got, j.ID)
			if (j.Resolution == "") != (len(got) <= 3) || j.OrderID == 0 || j.Error == "" {
				h.Errorf("job %+v", j)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("by page (-want +got):\n%s", diff)
	}
	h.books()
}
