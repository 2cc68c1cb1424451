package redis_test

import (
	"testing"
	"time"

	"orderflow/internal/redis"
	"orderflow/test/env"
)

// TestChannelCache: the later event of a channel is stored, in whatever order they are put, and expires.
func TestChannelCache(t *testing.T) {
	for name, open := range map[string]func(testing.TB) (string, string){"alone": env.Redis, "cluster": env.RedisCluster} {
		t.Run(name, func(t *testing.T) {
			address, prefix := open(t)
			one, two := redis.NewChannelCache(connected(t, address, prefix)), redis.NewChannelCache(connected(t, address, prefix))
			channels := []string{"cache-a", "private-cache-orders.7"}
			keep := func(l *redis.ChannelCache, at int64, frame string, left time.Duration) {
				t.Helper()
				if err := l.Put(t.Context(), channels, []int64{at, at}, [][]byte{[]byte(frame), []byte(frame)}, left); err != nil {
					t.Fatal(err)
				}
			}
			want := func(frame string) {
				t.Helper()
				for _, channel := range channels {
					if got, err := two.Get(t.Context(), channel); err != nil || string(got) != frame {
						t.Fatalf("%s: %q, %v; want %q", channel, got, err, frame)
					}
				}
			}
			want("")
			keep(one, 1_764_237_600_000_002, "late", time.Minute)
			keep(two, 1_764_237_600_000_001, "early", time.Minute)
			want("late")
			keep(two, 1_764_237_600_000_003, "later", 50*time.Millisecond)
			for deadline := time.Now().Add(patience); ; {
				got, err := one.Get(t.Context(), channels[0])
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("it did not expire: %q, %v", got, err)
				}
				if got == nil {
					break
				}
			}
		})
	}
}
