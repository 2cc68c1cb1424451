package store_test

import (
	"context"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// onServers are the kinds of database servers, each with a function that returns the address of a new, migrated database.
var onServers = map[string]func(t testing.TB) string{"MySQL": newMySQL, "PostgreSQL": newPostgres}

// newMySQL returns the address of a new, migrated database.
func newMySQL(t testing.TB) string {
	t.Helper()
	address := env.MySQL(t)
	s := openAt(t, address, store.Options{Rules: order.DefaultRules()})
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return address
}

// openAt opens a database and closes it with the test.
func openAt(t testing.TB, address string, options store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), address, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// openPatiently is openAt for tests that do not test time limits.
func openPatiently(t testing.TB, address string, options store.Options) *store.Store {
	t.Helper()
	s := openAt(t, address, options)
	s.AllowTime(patience)
	return s
}

// sampleMySQL returns a new store with the sample data and this stock of every product.
func sampleMySQL(t testing.TB, stock int64) *store.Store {
	t.Helper()
	s := openAt(t, newMySQL(t), store.Options{Rules: storetest.Rules()})
	if err := s.Seed(context.Background(), store.SeedPlan{SetStock: true, Stock: stock}); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMySQLContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func(order.Rules) *store.Store {
		address := newMySQL(t)
		return func(rules order.Rules) *store.Store {
			return openPatiently(t, address, store.Options{Rules: rules, Pool: 4})
		}
	})
}
