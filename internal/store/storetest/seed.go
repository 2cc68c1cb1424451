package storetest

import (
	"slices"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var seedTests = map[string]func(*house){
	"the sample data":              seedSample,
	"an empty database":            seedEmpty,
	"rows up to a number":          seedRows,
	"finished orders with history": seedOrders,
	"orders by the thousands":      seedMany,
	"stock set up and down":        seedStock,
}

func seedSample(h *house) {
	for range 2 { // the second time finds all there
		if err := h.Seed(h.Context(), store.SeedPlan{}); err != nil {
			h.Fatal(err)
		}
	}
	if empty, err := h.Empty(h.Context()); err != nil || empty {
		h.Errorf("empty after seeding (%v)", err)
	}
	type row struct {
		name, price string
		stock       int64
	}
	want := []row{
		{"Laptop Pro", "999.99", 50},
		{"Wireless Mouse", "29.99", 200},
		{"USB-C Hub", "29.99", 100},
		{"Mechanical Keyboard", "149.99", 75},
		{"Limited Edition Headphones", "299.99", 1},
	}
	products, err := h.Products(h.Context())
	var got []row
	for _, p := range products {
		got = append(got, row{p.Name, p.Price.String(), p.Stock})
	}
	if err != nil || !slices.Equal(got, want) {
		h.Errorf("products %v (%v), want %v", got, err, want)
	}
	users, _, err := h.Existing(h.Context(), []int64{1, 2, 3, 4}, nil)
	if err != nil || len(users) != 3 {
		h.Errorf("users %v, %v", users, err)
	}
	h.books()
}

// seedEmpty starts several processes on an empty database at once, and one more afterwards.
func seedEmpty(h *house) {
	const processes = 4
	added, failed := make(chan bool, processes), make(chan error, processes)
	for range processes {
		go func() {
			did, err := h.SeedEmpty(h.Context())
			added <- did
			failed <- err
		}()
	}
	var adders int
	for range processes {
		if <-added {
			adders++
		}
		if err := <-failed; err != nil {
			h.Error(err)
		}
	}
	if adders != 1 {
		h.Errorf("%d of %d processes added the sample data, want 1", adders, processes)
	}
	if again, err := h.SeedEmpty(h.Context()); err != nil || again {
		h.Errorf("added to a database in use: %v, %v", again, err)
	}
	if products, err := h.Products(h.Context()); err != nil || len(products) != 5 {
		h.Errorf("%d products (%v), want 5", len(products), err)
	}
	if users, _, err := h.Existing(h.Context(), []int64{1, 2, 3, 4}, nil); err != nil || len(users) != 3 {
		h.Errorf("users %v (%v), want 3", users, err)
	}
	if users, err := h.SampleLogins(h.Context()); err != nil || users != 3 {
		h.Errorf("%d users have the password of the samples (%v), want 3", users, err)
	}
	h.books()
}

func seedRows(h *house) {
	for _, plan := range []store.SeedPlan{{Users: 50, Products: 7}, {Users: 20, Products: 2_100}, {Users: 2_050}} {
		if err := h.Seed(h.Context(), plan); err != nil {
			h.Fatal(err)
		}
	}
	products, err := h.Products(h.Context())
	if err != nil || len(products) != 2_100 || products[2_099].Stock != 100 {
		h.Errorf("%d products, %v", len(products), err)
	}
	users, _, err := h.Existing(h.Context(), []int64{2_050, 2_051}, nil)
	if err != nil || !users[2_050] || users[2_051] {
		h.Errorf("users %v, %v", users, err)
	}
	for email, canLogIn := range map[string]bool{"charlie@example.com": true, "user4@example.com": false, "user2050@example.com": false} {
		user, err := h.UserByEmail(h.Context(), email)
		if err != nil || (user.PasswordHash != "") != canLogIn {
			h.Errorf("%s has a password: %v (%v), want %v", email, user.PasswordHash != "", err, canLogIn)
		}
	}
	h.books()
}

func seedOrders(h *house) {
	h.sample(20)
	before := h.stock(1)
	h.place("real")
	var done []int64
	plan := store.SeedPlan{Orders: 2_101, Progress: func(n, total int64) {
		if total != 2_101 {
			h.Errorf("progress of %d", total)
		}
		done = append(done, n)
	}}
	for range 2 {
		if err := h.Seed(h.Context(), plan); err != nil {
			h.Fatal(err)
		}
	}
	if !slices.Equal(done, []int64{501, 1_001, 1_501, 2_001, 2_101}) {
		h.Errorf("progress %v", done)
	}
	if got := h.stock(1); got != before-1 {
		h.Errorf("sample orders changed the stock at hand from %d to %d", before-1, got)
	}
	for status, want := range map[order.Status]int64{order.Pending: 1, order.Processing: 0, order.Paid: 1_470, order.Failed: 420, order.Cancelled: 210} {
		page, err := h.Orders(h.Context(), order.ListQuery{Status: status, PerPage: 1, Page: 1})
		if err != nil || page.Total != want {
			h.Errorf("%d orders are %s (%v), want %d", page.Total, status, err, want)
		}
	}
	if got := h.owed(longAgo); len(got) != 1 {
		h.Errorf("%d receipts owed: sample orders owe the bus nothing", len(got))
	}
	if got := h.history(100); len(got) < 2 {
		h.Errorf("history of a sample order: %v", got)
	}
	h.books()
}

// seedMany makes so many that most are copied from others.
func seedMany(h *house) {
	h.sample(20)
	const want = 8_100
	if err := h.Seed(h.Context(), store.SeedPlan{Orders: want}); err != nil {
		h.Fatal(err)
	}
	if got := Figure(h, h.Store, 3, "orders"); got != want {
		h.Errorf("%d orders, want %d", got, want)
	}
	if page, err := h.Orders(h.Context(), order.ListQuery{Status: order.Paid, PerPage: 1, Page: 1}); err != nil || page.Total != want*7/10 {
		h.Errorf("%d are paid, %v", page.Total, err)
	}
	if got := h.stock(1); got != 20 {
		h.Errorf("sample orders changed the stock at hand to %d", got)
	}
	h.place("a real one after them")
	h.books()
}

func seedStock(h *house) {
	for _, stock := range []int64{0, 1_000_000_000_000, 7, 7} {
		if err := h.Seed(h.Context(), store.SeedPlan{Products: 80, SetStock: true, Stock: stock}); err != nil {
			h.Fatal(err)
		}
		products, err := h.Products(h.Context())
		if err != nil || len(products) != 80 {
			h.Fatal(len(products), err)
		}
		for _, p := range products {
			if p.Stock != stock {
				h.Errorf("stock of product %d is %d, want %d", p.ID, p.Stock, stock)
			}
		}
	}
	h.books()
}
