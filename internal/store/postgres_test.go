package store_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// newPostgres is the address of a new, migrated database.
func newPostgres(t testing.TB) string {
	t.Helper()
	address := env.Postgres(t)
	s := openAt(t, address, store.Options{Rules: order.DefaultRules()})
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return address
}

func TestPostgresContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func(order.Rules) *store.Store {
		address := newPostgres(t)
		return func(rules order.Rules) *store.Store {
			return openPatiently(t, address, store.Options{Rules: rules, Pool: 4})
		}
	})
}

// TestPostgresHostileDefaults: the whole contract holds on a server whose defaults are hostile.
func TestPostgresHostileDefaults(t *testing.T) {
	t.Parallel()
	base := env.HostilePostgres(t)
	var made atomic.Int64
	storetest.Run(t, func(t *testing.T) func(order.Rules) *store.Store {
		address := fmt.Sprint(base, "shop", made.Add(1))
		if err := openAt(t, address, store.Options{Rules: order.DefaultRules()}).Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return func(rules order.Rules) *store.Store {
			return openPatiently(t, address, store.Options{Rules: rules, Pool: 2})
		}
	})
}
