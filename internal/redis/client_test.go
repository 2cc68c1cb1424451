package redis_test

import (
	"context"
	"testing"
	"time"

	"orderflow/internal/redis"
	"orderflow/test/env"
)

// connected returns a client with a prefix.
func connected(t testing.TB, address, prefix string) *redis.Client {
	t.Helper()
	c, err := redis.New(address, redis.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for deadline := time.Now().Add(patience); ; { // a busy machine may exceed the time limit of a probe
		err := c.Connect(t.Context())
		if err == nil {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestConnect(t *testing.T) {
	address, prefix := env.Redis(t)
	if c := connected(t, address, prefix); !c.Up() {
		t.Error("connected but not up")
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
