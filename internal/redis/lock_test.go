package redis_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"orderflow/internal/lock/locktest"
	"orderflow/internal/redis"
	"orderflow/test/env"
)

// running runs a service until the test ends.
func running(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

// locker returns the locker of a process, which waits for Redis on a busy machine.
func locker(t *testing.T, address, prefix string, ttl time.Duration) *redis.Locker {
	t.Helper()
	c := connected(t, address, prefix)
	redis.Patient(c)
	running(t, c.Run)
	l := redis.PatientLocker(c, ttl, nil)
	running(t, l.Run)
	return l
}

func TestLockerOnCluster(t *testing.T) {
	locktest.Run(t, func(t *testing.T, ttl time.Duration) (a, b locktest.Adapter) {
		address, prefix := env.RedisCluster(t)
		return locker(t, address, prefix, ttl), locker(t, address, prefix, ttl)
	})
}

func TestLocker(t *testing.T) {
	address, prefixes := suiteRedis(t)
	locktest.Run(t, func(t *testing.T, ttl time.Duration) (a, b locktest.Adapter) {
		prefix := prefixes()
		return locker(t, address, prefix, ttl), locker(t, address, prefix, ttl)
	})
}
