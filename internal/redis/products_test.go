package redis_test

import (
	"testing"
	"time"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// TestProducts: all processes get the list that one stored, until a release of used locks. A list read before the release is not stored
// after it. Orders that ignore a stale lock release nothing, and invalidate the list as well.
func TestProducts(t *testing.T) {
	for name, open := range map[string]func(testing.TB) (string, string){"alone": env.Redis, "cluster": env.RedisCluster} {
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
				if err := locker.Unlock(t.Context(), grant.Token, grant.Locked, true); err != nil {
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

// TestProductsWithoutLocks: a change of stock without a lock, because Redis refused it, invalidates the list too. While the version cannot
// be raised, the process that changed the stock uses no cached list.
func TestProductsWithoutLocks(t *testing.T) {
	t.Parallel()
	server, err := servers.Redis(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	c := connected(t, servers.RedisURL(server.Addr()), "")
	mine, theirs := redis.NewProducts(c), redis.NewProducts(connected(t, servers.RedisURL(server.Addr()), ""))
	l := redis.NewLocker(c, lock.TTL, mine)
	keep := func() {
		t.Helper()
		_, version, err := theirs.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := theirs.Put(t.Context(), version, []byte("list"), time.Minute); err != nil {
			t.Fatal(err)
		}
		if list, _, err := mine.Get(t.Context()); err != nil || string(list) != "list" {
			t.Fatalf("kept: %q, %v", list, err)
		}
	}
	keep()
	env.Command(t, server.Addr(), "RPUSH", "inventory:product:1", "x")
	grant, err := l.TryLock(t.Context(), []int64{1})
	if err != nil || len(grant.Locked) > 0 {
		t.Fatalf("a key of another type: %+v, %v", grant, err)
	}
	if err := l.Unlock(t.Context(), grant.Token, grant.Locked, true); err != nil {
		t.Fatal(err)
	}
	if list, _, err := theirs.Get(t.Context()); err != nil || list != nil {
		t.Errorf("after a change without a lock: %q, %v", list, err)
	}

	keep()
	const version = "{orderflow:products}:version"
	before := env.Command(t, server.Addr(), "GET", version)
	env.Command(t, server.Addr(), "SET", version, "no number") // a version that cannot be raised
	held := takes(t, l, 2)
	if err := l.Unlock(t.Context(), held.Token, held.Locked, true); err != nil {
		t.Errorf("the locks were not released: %v", err)
	}
	env.Command(t, server.Addr(), "SET", version, "9223372036854775807")
	if list, _, err := mine.Get(t.Context()); err == nil || list != nil {
		t.Errorf("while the version cannot be raised: %q, %v", list, err)
	}
	env.Command(t, server.Addr(), "SET", version, before.(string))
	if list, _, err := mine.Get(t.Context()); err != nil || list != nil {
		t.Errorf("the version can be raised again: %q, %v", list, err)
	}
}
