package redis_test

import (
	"testing"
	"time"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/internal/servers/serverstest"
)

// TestProducts: what one process keeps the others get, until the release of locks under which something was done; a list
// that was read before that is not kept after it. Orders that go past a dead holder release nothing, and drop it as well.
func TestProducts(t *testing.T) {
	for name, open := range map[string]func(testing.TB) (string, string){"alone": serverstest.Redis, "cluster": serverstest.RedisCluster} {
		t.Run(name, func(t *testing.T) {
			address, prefix := open(t)
			one, two := connected(t, address, prefix), connected(t, address, prefix)
			mine, theirs := redis.NewProducts(one), redis.NewProducts(two)
			locker := redis.NewLocker(one, lock.TTL, mine)
			keep := func() (before string) {
				t.Helper()
				list, before, err := mine.Get(t.Context())
				if err != nil || list != nil {
					t.Fatalf("%q, %v", list, err)
				}
				if err := mine.Put(t.Context(), before, []byte("list\nof two"), time.Minute); err != nil {
					t.Fatal(err)
				}
				if list, _, err := theirs.Get(t.Context()); err != nil || string(list) != "list\nof two" {
					t.Errorf("the other process gets %q, %v", list, err)
				}
				return before
			}
			for _, products := range [][]int64{{1, 2}, nil} {
				before := keep()
				grant, err := locker.TryLock(t.Context(), products)
				if err != nil {
					t.Fatal(err)
				}
				if err := locker.Unlock(t.Context(), grant.Token, grant.Held, true); err != nil {
					t.Fatal(err)
				}
				if err := mine.Put(t.Context(), before, []byte("too old"), time.Minute); err != nil {
					t.Fatal(err)
				}
				if list, _, err := theirs.Get(t.Context()); err != nil || list != nil {
					t.Errorf("after locks of %v were used: %q, %v", products, list, err)
				}
			}
		})
	}
}
