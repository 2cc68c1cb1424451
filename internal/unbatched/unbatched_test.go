package unbatched_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"orderflow/internal/order"
	"orderflow/internal/redis"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/internal/unbatched"
	"orderflow/test/env"
)

func TestMain(m *testing.M) { os.Exit(env.Run(m)) }

// open returns a store with the sample data and this stock of each product.
func open(t *testing.T, stock int64) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "t.db"), store.Options{Rules: order.DefaultRules()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Migrate(t.Context()), db.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: stock})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// code returns the code of an answer.
func code(placed order.Placed, err error) order.Code {
	if err == nil {
		err = placed.Err
	}
	return order.CodeOf(err)
}

// locker returns the product locks of one process, in the Redis of the test.
func locker(t *testing.T, address, prefix string) *redis.PlainLocker {
	t.Helper()
	client, err := redis.New(address, redis.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return redis.NewPlainLocker(client)
}

func TestCreate(t *testing.T) {
	for name, locks := range map[string]func(t *testing.T) []unbatched.Locker{
		"row locks": func(*testing.T) []unbatched.Locker { return []unbatched.Locker{nil, nil} },
		"product locks": func(t *testing.T) []unbatched.Locker {
			address, prefix := env.Redis(t)
			return []unbatched.Locker{locker(t, address, prefix), locker(t, address, prefix)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			const stock, buyers = 10, 30
			db := open(t, stock)
			var processes []*unbatched.Service
			for _, l := range locks(t) {
				processes = append(processes, unbatched.New(db, l))
			}
			var sold atomic.Int64
			var all sync.WaitGroup
			for buyer := range buyers {
				products := [][]int64{{1, 1, 2, 1}, {2, 1, 1, 1}}[buyer%2]
				draft := storetest.Draft(t, 1, fmt.Sprint("k", buyer), products...)
				all.Go(func() {
					switch got := code(processes[buyer/2%2].Create(t.Context(), draft)); got {
					case "":
						sold.Add(1)
					case order.CodeInsufficientStock:
					default:
						t.Errorf("code %q", got)
					}
				})
			}
			all.Wait()
			if got := sold.Load(); got != stock {
				t.Errorf("%d orders, want %d", got, stock)
			}
			storetest.CheckInvariants(t, db)
		})
	}
}

// lockedElsewhere is a Locker whose products another process has locked until free closes.
type lockedElsewhere struct{ requested, free chan struct{} }

func (h lockedElsewhere) Lock(ctx context.Context, products []int64) (unlock func(), busy int64, err error) {
	h.requested <- struct{}{}
	select {
	case <-h.free:
		return func() {}, 0, nil
	case <-ctx.Done():
		return nil, products[0], ctx.Err()
	}
}

// TestQueue: orders of one product form a queue in the process, of which one at a time requests the lock, for a limited time.
func TestQueue(t *testing.T) {
	for name, want := range map[string]order.Code{"released": "", "not released": order.CodeLockConflict} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := open(t, 10)
				defer func() { _ = db.Close() }() // before the bubble ends
				elsewhere := lockedElsewhere{make(chan struct{}, 3), make(chan struct{})}
				s := unbatched.New(db, elsewhere)
				answers := make(chan order.Code, 2)
				for _, draft := range []order.Draft{storetest.Draft(t, 1, "a", 1, 1, 2, 1), storetest.Draft(t, 1, "b", 2, 1)} {
					go func() { answers <- code(s.Create(t.Context(), draft)) }()
				}
				synctest.Wait()
				if requested := len(elsewhere.requested); requested != 1 {
					t.Errorf("%d orders requested the lock of one product at once", requested)
				}
				if len(answers) != 0 {
					t.Error("an order did not wait for the lock of its product")
				}
				if want == "" {
					close(elsewhere.free)
				}
				for range 2 {
					if got := <-answers; got != want {
						t.Errorf("code %q, want %q", got, want)
					}
				}
			})
		})
	}
}

// TestCallerLeaves: a waiting order whose caller leaves is not placed.
func TestCallerLeaves(t *testing.T) {
	db := open(t, 10)
	address, prefix := env.Redis(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := unbatched.New(db, locker(t, address, prefix)).Create(ctx, storetest.Draft(t, 1, "k", 1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestCancel(t *testing.T) {
	db := open(t, 10)
	s := unbatched.New(db, nil)
	placed, err := s.Create(t.Context(), storetest.Draft(t, 1, "k", 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	cancelled, err := s.Cancel(t.Context(), order.CancelRequest{OrderID: placed.Order.ID, Actor: "user:1"})
	if err != nil || cancelled.Status != order.Cancelled {
		t.Errorf("%+v, %v", cancelled, err)
	}
	if _, err := s.Cancel(t.Context(), order.CancelRequest{OrderID: 99}); order.CodeOf(err) != order.CodeNotFound {
		t.Errorf("a missing order: %v", err)
	}
	storetest.CheckInvariants(t, db)
}
