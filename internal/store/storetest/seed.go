package storetest

import (
	"slices"

	"orderflow/internal/order"
	"orderflow/internal/store"
)

var seedTests = map[string]func(*testEnv){
	"the sample data":              seedSample,
	"an empty database":            seedEmpty,
	"rows up to a number":          seedRows,
	"finished orders with history": seedOrders,
	"orders by the thousands":      seedMany,
	"stock set up and down":        seedStock,
}

func seedSample(env *testEnv) {
	for range 2 { // the second time finds all there
		if err := env.Seed(env.Context(), store.SeedPlan{}); err != nil {
			env.Fatal(err)
		}
	}
	if empty, err := env.Empty(env.Context()); err != nil || empty {
		env.Errorf("empty after seeding (%v)", err)
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
	products, err := env.Products(env.Context())
	var got []row
	for _, p := range products {
		got = append(got, row{p.Name, p.Price.String(), p.Stock})
	}
	if err != nil || !slices.Equal(got, want) {
		env.Errorf("products %v (%v), want %v", got, err, want)
	}
	users, _, err := env.Existing(env.Context(), []int64{1, 2, 3, 4}, nil)
	if err != nil || len(users) != 3 {
		env.Errorf("users %v, %v", users, err)
	}
	env.checkInvariants()
}

// seedEmpty starts several processes on an empty database at once, and one more afterwards.
func seedEmpty(env *testEnv) {
	const processes = 4
	added, failed := make(chan bool, processes), make(chan error, processes)
	for range processes {
		go func() {
			did, err := env.SeedEmpty(env.Context())
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
			env.Error(err)
		}
	}
	if adders != 1 {
		env.Errorf("%d of %d processes added the sample data, want 1", adders, processes)
	}
	if again, err := env.SeedEmpty(env.Context()); err != nil || again {
		env.Errorf("added to a database in use: %v, %v", again, err)
	}
	if products, err := env.Products(env.Context()); err != nil || len(products) != 5 {
		env.Errorf("%d products (%v), want 5", len(products), err)
	}
	if users, _, err := env.Existing(env.Context(), []int64{1, 2, 3, 4}, nil); err != nil || len(users) != 3 {
		env.Errorf("users %v (%v), want 3", users, err)
	}
	if users, err := env.SampleLogins(env.Context()); err != nil || users != 3 {
		env.Errorf("%d users have the password of the samples (%v), want 3", users, err)
	}
	env.checkInvariants()
}

func seedRows(env *testEnv) {
	for _, plan := range []store.SeedPlan{{Users: 50, Products: 7}, {Users: 20, Products: 2_100}, {Users: 2_050}} {
		if err := env.Seed(env.Context(), plan); err != nil {
			env.Fatal(err)
		}
	}
	products, err := env.Products(env.Context())
	if err != nil || len(products) != 2_100 || products[2_099].Stock != 100 {
		env.Errorf("%d products, %v", len(products), err)
	}
	users, _, err := env.Existing(env.Context(), []int64{2_050, 2_051}, nil)
	if err != nil || !users[2_050] || users[2_051] {
		env.Errorf("users %v, %v", users, err)
	}
	for email, canLogIn := range map[string]bool{"charlie@example.com": true, "user4@example.com": false, "user2050@example.com": false} {
		user, err := env.UserByEmail(env.Context(), email)
		if err != nil || (user.PasswordHash != "") != canLogIn {
			env.Errorf("%s has a password: %v (%v), want %v", email, user.PasswordHash != "", err, canLogIn)
		}
	}
	env.checkInvariants()
}

func seedOrders(env *testEnv) {
	env.sample(20)
	before := env.stock(1)
	env.place("real")
	var done []int64
	plan := store.SeedPlan{Orders: 2_101, Progress: func(n, total int64) {
		if total != 2_101 {
			env.Errorf("progress of %d", total)
		}
		done = append(done, n)
	}}
	for range 2 {
		if err := env.Seed(env.Context(), plan); err != nil {
			env.Fatal(err)
		}
	}
	if !slices.Equal(done, []int64{501, 1_001, 1_501, 2_001, 2_101}) {
		env.Errorf("progress %v", done)
	}
	if got := env.stock(1); got != before-1 {
		env.Errorf("sample orders changed the stock at hand from %d to %d", before-1, got)
	}
	for status, want := range map[order.Status]int64{order.Pending: 1, order.Processing: 0, order.Paid: 1_470, order.Failed: 420, order.Cancelled: 210} {
		page, err := env.Orders(env.Context(), order.ListQuery{Status: status, PerPage: 1, Page: 1})
		if err != nil || page.Total != want {
			env.Errorf("%d orders are %s (%v), want %d", page.Total, status, err, want)
		}
	}
	if got := env.unpublished(longAgo); len(got) != 1 {
		env.Errorf("%d batches are unpublished: sample orders have none", len(got))
	}
	if got := env.history(100); len(got) < 2 {
		env.Errorf("history of a sample order: %v", got)
	}
	env.checkInvariants()
}

// seedMany makes so many that most are copied from others.
func seedMany(env *testEnv) {
	env.sample(20)
	const want = 8_100
	if err := env.Seed(env.Context(), store.SeedPlan{Orders: want}); err != nil {
		env.Fatal(err)
	}
	if got := Figure(env, env.Store, 3, "orders"); got != want {
		env.Errorf("%d orders, want %d", got, want)
	}
	if page, err := env.Orders(env.Context(), order.ListQuery{Status: order.Paid, PerPage: 1, Page: 1}); err != nil || page.Total != want*7/10 {
		env.Errorf("%d are paid, %v", page.Total, err)
	}
	if got := env.stock(1); got != 20 {
		env.Errorf("sample orders changed the stock at hand to %d", got)
	}
	env.place("a real one after them")
	env.checkInvariants()
}

func seedStock(env *testEnv) {
	for _, stock := range []int64{0, 1_000_000_000_000, 7, 7} {
		if err := env.Seed(env.Context(), store.SeedPlan{Products: 80, SetStock: true, Stock: stock}); err != nil {
			env.Fatal(err)
		}
		products, err := env.Products(env.Context())
		if err != nil || len(products) != 80 {
			env.Fatal(len(products), err)
		}
		for _, p := range products {
			if p.Stock != stock {
				env.Errorf("stock of product %d is %d, want %d", p.ID, p.Stock, stock)
			}
		}
	}
	env.checkInvariants()
}
