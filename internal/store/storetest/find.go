package storetest

import (
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var findTests = map[string]func(*testEnv){
	"orders by key":              findByKey,
	"the payments of an order":   findPayments,
	"failed jobs, with orders":   findFailedJobs,
	"products by id and by page": findProducts,
	"what was put into stock":    findPutIn,
}

func findByKey(env *testEnv) {
	env.sample(100)
	var same []*order.Order
	for user := range int64(3) {
		env.create(env.draft(user+1, "another", 1, 1))
		same = append(same, env.create(env.draft(user+1, "same", 2, 1, 3, 1))[0].Order)
	}
	slices.Reverse(same)
	find := func(user int64, key string, limit int, want ...*order.Order) {
		env.Helper()
		got, err := env.OrdersByKey(env.Context(), user, key, limit)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			env.Errorf("user %d, key %q: %v (-want +got)\n%s", user, key, err, diff)
		}
	}
	find(0, "same", 10, same...)
	find(0, "same", 2, same[:2]...)
	find(2, "same", 10, same[1])
	find(0, "Same", 10)
	find(0, "same ", 10)
	find(99, "same", 10)
	find(2, "none", 10)
}

func findPayments(env *testEnv) {
	env.sample(10)
	old := env.under(AtOnce())
	o := old.place("k")
	old.settle(report(old.claim(o.ID), order.KindCharge, order.NoAnswer))
	env.settle(report(env.claim(o.ID), order.KindCharge, order.Succeeded))
	got, err := env.Payments(env.Context(), o.ID)
	if err != nil || len(got) != 2 {
		env.Fatalf("%d payments, %v", len(got), err)
	}
	for i, want := range []order.Payment{
		{OrderID: o.ID, Claim: 1, Kind: order.KindCharge, Outcome: order.NoAnswer, Reference: "reference", Error: "reason", Actor: "worker", At: got[0].At},
		{OrderID: o.ID, Claim: 2, Kind: order.KindCharge, Outcome: order.Succeeded, Reference: "reference", Error: "reason", Actor: "worker", At: got[1].At},
	} {
		if diff := cmp.Diff(want, got[i]); diff != "" || got[i].At.IsZero() {
			env.Errorf("payment %d (-want +got)\n%s", i, diff)
		}
	}
	if got, err := env.Payments(env.Context(), 999); err != nil || len(got) != 0 {
		env.Errorf("of no order: %v, %v", got, err)
	}
}

func findFailedJobs(env *testEnv) {
	env.sample(100)
	old := env.under(AtOnce())
	var orders []*order.Order
	for i := range 5 {
		o := old.create(env.draft(int64(i%3+1), fmt.Sprint("k", i), 2, int64(i+1)))[0].Order
		old.exhaustAttempts(o.ID)
		orders = append(orders, o)
	}
	slices.Reverse(orders)
	for page := 1; page <= 4; page++ {
		found, err := env.FailedJobOrders(env.Context(), page, 2)
		want := orders[min(2*(page-1), 5):min(2*page, 5)]
		if err != nil || found.Total != 5 || len(found.Jobs) != len(want) {
			env.Fatalf("page %d: %+v, %v", page, found, err)
		}
		jobs, err := env.FailedJobPage(env.Context(), page, 2)
		if err != nil {
			env.Fatal(err)
		}
		for i, job := range found.Jobs {
			o := want[i]
			if job.FailedJob != jobs.Jobs[i] || job.OrderID != o.ID || job.UserID != o.UserID || job.Total != o.Total ||
				job.Currency != "USD" || job.Status != order.Processing || job.Error == "" || job.Attempts < 1 {
				env.Errorf("page %d: %+v of %+v", page, job, o)
			}
		}
	}
}

func findPutIn(env *testEnv) {
	env.sample(100)
	env.place("k")
	for i, quantity := range []int64{7, -3} {
		restock, err := order.NewRestock(nil, 1, quantity, "delivery", fmt.Sprint(i))
		if err != nil {
			env.Fatal(err)
		}
		if _, err := env.Restock(env.Context(), []order.Restock{restock}); err != nil {
			env.Fatal(err)
		}
	}
	got, err := env.StockAdded(env.Context(), []int64{2, 1, 99, 1})
	if err != nil || got[1] != 104 || got[2] != 100 || len(got) != 2 {
		env.Errorf("%v, %v", got, err)
	}
	if got, err := env.StockAdded(env.Context(), nil); err != nil || len(got) != 0 {
		env.Errorf("of no product: %v, %v", got, err)
	}
}

func findProducts(env *testEnv) {
	env.sample(0)
	all, err := env.Products(env.Context())
	if err != nil || len(all) != 5 {
		env.Fatalf("%d products, %v", len(all), err)
	}
	byID := func(a, b order.Product) int { return int(a.ID - b.ID) }
	got, err := env.ProductsByID(env.Context(), []int64{4, 99, 2, 4})
	slices.SortFunc(got, byID)
	if diff := cmp.Diff([]order.Product{all[1], all[3]}, got); err != nil || diff != "" {
		env.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if got, err := env.ProductsByID(env.Context(), nil); err != nil || len(got) != 0 {
		env.Errorf("of no id: %v, %v", got, err)
	}
	for page, want := range map[int][]order.Product{1: all[:2], 2: all[2:4], 3: all[4:], 4: nil} {
		found, err := env.ProductPage(env.Context(), page, 2)
		if diff := cmp.Diff(order.ProductPage{Products: want, Total: 5, SoldOut: 5}, found); err != nil || diff != "" {
			env.Errorf("page %d: %v (-want +got)\n%s", page, err, diff)
		}
	}
}
