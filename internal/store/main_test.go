package store_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// empty is a migrated database without rows: created once, copied for each test.
var empty []byte

// childEnv is the variable that selects the function of a child process.
const childEnv = "ORDERFLOW_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	flag.Parse()
	if name := os.Getenv(childEnv); name != "" {
		os.Exit(children[name](os.Args[len(os.Args)-1]))
	}
	if rapid := flag.Lookup("rapid.checks"); rapid.Value.String() == rapid.DefValue {
		_ = rapid.Value.Set("15") // each run is some thirty writes to a disk, and as many audits
	}
	registerPageLimits()
	if err := makeEmpty(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(env.Run(m))
}

func makeEmpty() error {
	dir, err := os.MkdirTemp("", "store-test")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "empty.db")
	s, err := store.Open(context.Background(), "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		return err
	}
	if err := s.Migrate(context.Background()); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	empty, err = os.ReadFile(path)
	return err
}

// newFile returns the path of a new, migrated database file.
func newFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// patience limits every wait, and writes and reads in tests that do not test their time limits: the machine may be busy. Only a failing
// test reaches it.
const patience = time.Minute

// open opens a file and closes it with the test.
func open(t testing.TB, path string, rules order.Rules) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+path, store.Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	s.AllowTime(patience)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// sample returns a new store with the sample data and this stock of every product.
func sample(t testing.TB, stock int64) (*store.Store, string) {
	t.Helper()
	path := newFile(t)
	s := open(t, path, storetest.Rules())
	if err := s.Seed(context.Background(), store.SeedPlan{SetStock: true, Stock: stock}); err != nil {
		t.Fatal(err)
	}
	return s, path
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func(order.Rules) *store.Store {
		path := newFile(t)
		return func(rules order.Rules) *store.Store { return open(t, path, rules) }
	})
}
