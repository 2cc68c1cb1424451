package store_test

import (
	"fmt"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// benchmark runs work on batches of each size and on both databases; prepare creates n batches before the timer starts.
func benchmark[T any](b *testing.B, prepare func(b *testing.B, s *store.Store, size, n int) [][]T, work func(s *store.Store, batch []T) error) {
	const stock = 1_000_000_000
	for _, run := range []struct {
		on   string
		size int
	}{{"sqlite", 1}, {"sqlite", 16}, {"sqlite", 256}, {"mysql", 1}, {"mysql", 16}, {"mysql", 256}} {
		size := run.size
		b.Run(fmt.Sprint(run.on, "/batch=", size), func(b *testing.B) {
			var s *store.Store
			if run.on == "mysql" {
				s = sampleMySQL(b, stock)
			} else {
				s, _ = sample(b, stock)
			}
			batches := prepare(b, s, size, b.N)
			b.ResetTimer()
			for i := range b.N {
				if err := work(s, batches[i]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/order")
		})
	}
}

func someDrafts(b *testing.B, _ *store.Store, size, n int) [][]order.Draft {
	all := make([][]order.Draft, n)
	for i := range all {
		for k := range size {
			all[i] = append(all[i], storetest.Draft(b, int64(k%3+1), fmt.Sprint(i, "-", k), 1, 1))
		}
	}
	return all
}

func someClaims(b *testing.B, s *store.Store, size, n int) [][]order.ClaimRequest {
	all := make([][]order.ClaimRequest, n)
	for i, drafts := range someDrafts(b, s, size, n) {
		answers, _, err := s.CreateOrders(b.Context(), drafts)
		if err != nil {
			b.Fatal(err)
		}
		for _, a := range answers {
			all[i] = append(all[i], order.ClaimRequest{OrderID: a.Order.ID, Actor: "worker"})
		}
	}
	return all
}

func someSettlements(b *testing.B, s *store.Store, size, n int) [][]order.Settlement {
	all := make([][]order.Settlement, n)
	for i, claims := range someClaims(b, s, size, n) {
		claimed, _, err := s.ClaimOrders(b.Context(), claims)
		if err != nil {
			b.Fatal(err)
		}
		for k, c := range claimed {
			outcome := order.Succeeded
			if k%5 == 4 {
				outcome = order.Declined
			}
			all[i] = append(all[i], order.Settlement{
				OrderID: c.Order.ID, Claim: 1, Lease: c.Order.Lease, Kind: order.KindCharge, Outcome: outcome, Reference: "reference",
			})
		}
	}
	return all
}

func someRefs(b *testing.B, s *store.Store, size, n int) [][]order.OrderKey {
	drafts := someDrafts(b, s, size, 1)[0]
	if _, _, err := s.CreateOrders(b.Context(), drafts); err != nil {
		b.Fatal(err)
	}
	refs := make([]order.OrderKey, size)
	for i, d := range drafts {
		refs[i] = d.OrderKey()
	}
	all := make([][]order.OrderKey, n)
	for i := range all {
		all[i] = refs
	}
	return all
}

func BenchmarkCreateOrders(b *testing.B) {
	benchmark(b, someDrafts, func(s *store.Store, batch []order.Draft) error {
		_, _, err := s.CreateOrders(b.Context(), batch)
		return err
	})
}

func BenchmarkClaimOrders(b *testing.B) {
	benchmark(b, someClaims, func(s *store.Store, batch []order.ClaimRequest) error {
		_, _, err := s.ClaimOrders(b.Context(), batch)
		return err
	})
}

func BenchmarkSettleOrders(b *testing.B) {
	benchmark(b, someSettlements, func(s *store.Store, batch []order.Settlement) error {
		_, _, err := s.SettleOrders(b.Context(), batch)
		return err
	})
}

func BenchmarkFindOrders(b *testing.B) {
	benchmark(b, someRefs, func(s *store.Store, batch []order.OrderKey) error {
		found, err := s.FindOrders(b.Context(), batch)
		if err == nil && len(found) != len(batch) {
			err = fmt.Errorf("%d of %d found", len(found), len(batch))
		}
		return err
	})
}
