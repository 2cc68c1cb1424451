package env_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/test/env"
)

func TestCommand(t *testing.T) {
	t.Parallel()
	address, prefix := env.Redis(t)
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	key := prefix + "list"
	for _, c := range []struct {
		words []string
		want  any
	}{
		{[]string{"PING"}, "PONG"},
		{[]string{"RPUSH", key, "a b", "", "c\r\nd"}, int64(3)},
		{[]string{"LRANGE", key, "0", "-1"}, []any{"a b", "", "c\r\nd"}},
		{[]string{"GET", prefix + "none"}, nil},
		{[]string{"DEL", key}, int64(1)},
	} {
		if got := env.Command(t, parsed.Host, c.words...); !cmp.Equal(got, c.want) {
			t.Errorf("%q: %#v, want %#v", c.words, got, c.want)
		}
	}
}

// TestRedisCluster: all slots are served, by three masters.
func TestRedisCluster(t *testing.T) {
	t.Parallel()
	address, _ := env.RedisCluster(t)
	hosts := strings.Split(strings.TrimPrefix(address, "redis://"), ",")
	for _, host := range hosts {
		slots, _ := env.Command(t, host, "CLUSTER", "SLOTS").([]any)
		if len(hosts) != 3 || len(slots) != 3 {
			t.Errorf("%s: %d ranges of slots, %d nodes", host, len(slots), len(hosts))
		}
	}
}
