package redis_test

import (
	"testing"

	"orderflow/internal/bus"
	"orderflow/internal/bus/bustest"
	"orderflow/internal/redis"
	"orderflow/test/env"
)

// newBus returns the bus of one process.
func newBus(t testing.TB, address, prefix string, options bus.Options) *redis.Bus {
	t.Helper()
	b := redis.NewBus(connected(t, address, prefix), options)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestBus(t *testing.T) {
	address, prefixes := suiteRedis(t)
	bustest.Run(t, func(t *testing.T, options bus.Options) (a, b bustest.Adapter) {
		prefix := prefixes()
		return newBus(t, address, prefix, options), newBus(t, address, prefix, options)
	})
}

func TestBusOnCluster(t *testing.T) {
	bustest.Run(t, func(t *testing.T, options bus.Options) (a, b bustest.Adapter) {
		address, prefix := env.RedisCluster(t)
		return newBus(t, address, prefix, options), newBus(t, address, prefix, options)
	})
}
