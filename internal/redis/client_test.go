package redis_test

import (
	"testing"

	"orderflow/internal/redis"
	"orderflow/internal/servers/serverstest"
)

// connected returns a client with keys of its own; peers share them by the prefix.
func connected(t testing.TB, address, prefix string) *redis.Client {
	t.Helper()
	c, err := redis.New(address, redis.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConnect(t *testing.T) {
	address, prefix := serverstest.Redis(t)
	if c := connected(t, address, prefix); !c.Up() {
		t.Error("connected and not up")
	}
}
