package redis_test

import (
	"testing"

	"orderflow/internal/bus"
	"orderflow/internal/bus/bustest"
	"orderflow/internal/redis"
	"orderflow/test/env"
)

// station is one process's bus.
func station(t testing.TB, address, prefix string, options bus.Options) *redis.Bus {
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
		return station(t, address, prefix, options), station(t, address, prefix, options)
	})
}

func TestBusOnCluster(t *testing.T) {
	bustest.Run(t, func(t *testing.T, options bus.Options) (a, b bustest.Adapter) {
		address, prefix := env.RedisCluster(t)
		return station(t, address, prefix, options), station(t, address, prefix, options)
	})
}
