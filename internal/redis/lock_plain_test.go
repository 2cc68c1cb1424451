package redis_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
)

func mustLock(t *testing.T, l *redis.PlainLocker, products ...int64) (unlock func()) {
	t.Helper()
	unlock, busy, err := l.Lock(t.Context(), products)
	if err != nil {
		t.Fatalf("product %d is locked: %v", busy, err)
	}
	return unlock
}

// subscribers returns how many connections are subscribed to a channel.
func subscribers(t *testing.T, host, channel string) any {
	t.Helper()
	answer, ok := env.Command(t, host, "PUBSUB", "NUMSUB", channel).([]any)
	if !ok || len(answer) != 2 {
		t.Fatalf("answer %v", answer)
	}
	return answer[1]
}

// TestPlainLockerExcludes: one of many orders of two processes has a product at a time, and each gets it.
func TestPlainLockerExcludes(t *testing.T) {
	address, prefix := env.Redis(t)
	processes := []*redis.PlainLocker{redis.NewPlainLocker(connected(t, address, prefix)), redis.NewPlainLocker(connected(t, address, prefix))}
	var inside, done int // guarded only by the lock; the race detector finds a violation
	var all sync.WaitGroup
	const orders = 40
	for i := range orders {
		all.Go(func() {
			unlock, _, err := processes[i%2].Lock(t.Context(), [][]int64{{1, 2}, {2, 3}}[i/2%2])
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			if inside++; inside != 1 {
				t.Errorf("%d orders have product 2 at once", inside)
			}
			inside--
			done++
		})
	}
	all.Wait()
	if done != orders {
		t.Errorf("%d of %d orders got the lock", done, orders)
	}
}

// TestPlainLockerWaits: an order waits for the notification and holds no other lock meanwhile.
func TestPlainLockerWaits(t *testing.T) {
	address, prefix := env.Redis(t)
	one, other := redis.NewPlainLocker(connected(t, address, prefix)), redis.NewPlainLocker(connected(t, address, prefix))
	unlock := mustLock(t, one, 2)
	host := strings.TrimPrefix(address, "redis://")
	env.Command(t, host, "EXPIRE", prefix+lock.Key(2), "3600") // so that its expiry does not end the wait
	locked := make(chan func())
	go func() {
		unlock, _, err := other.Lock(t.Context(), []int64{1, 2})
		if err != nil {
			t.Error(err)
		}
		locked <- unlock
	}()
	channel := prefix + "orderflow:unlocked:" + lock.Key(2)
	env.Eventually(t, "the locker subscribes to the release", func() bool { return subscribers(t, host, channel) == int64(1) })
	if key := env.Command(t, host, "EXISTS", prefix+lock.Key(1)); key != int64(0) {
		t.Errorf("a waiting order holds the lock of another product: %v", key)
	}
	unlock()
	(<-locked)()
	if key := env.Command(t, host, "EXISTS", prefix+lock.Key(1), prefix+lock.Key(2)); key != int64(0) {
		t.Errorf("%v locks are left", key)
	}
}

// TestPlainLockerRespectsOtherPrograms: the lock of another program is not released, and its expiry ends the wait.
func TestPlainLockerRespectsOtherPrograms(t *testing.T) {
	address, prefix := env.Redis(t)
	l, host, key := redis.NewPlainLocker(connected(t, address, prefix)), strings.TrimPrefix(address, "redis://"), prefix+lock.Key(1)
	env.Command(t, host, "SET", key, "foreign")
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error)
	go func() {
		_, busy, err := l.Lock(ctx, []int64{1})
		if busy != 1 {
			t.Errorf("busy: product %d", busy)
		}
		refused <- err
	}()
	env.Eventually(t, "the locker subscribes to the release", func() bool { return subscribers(t, host, prefix+"orderflow:unlocked:"+lock.Key(1)) == int64(1) })
	cancel()
	if err := <-refused; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if token := env.Command(t, host, "GET", key); token != "foreign" {
		t.Errorf("the lock is %v now", token)
	}
	env.Command(t, host, "PEXPIRE", key, "50")
	mustLock(t, l, 1)()
}

// TestPlainLockerWithoutRedis locks nothing.
func TestPlainLockerWithoutRedis(t *testing.T) {
	client, err := redis.New("redis://127.0.0.1:1", redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	mustLock(t, redis.NewPlainLocker(client), 1)()
}
