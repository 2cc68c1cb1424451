package redis_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"orderflow/internal/bus"
)

// subscriptions is how many connections of a server are subscribed to channels.
func subscriptions(ctx context.Context, t *testing.T, client rueidis.Client) (n int64) {
	t.Helper()
	names, err := client.Do(ctx, client.B().Arbitrary("PUBSUB", "SHARDCHANNELS").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		each, err := client.Do(ctx, client.B().Arbitrary("PUBSUB", "SHARDNUMSUB", name).Build()).ToArray()
		if err != nil || len(each) != 2 {
			t.Fatal(each, err)
		}
		count, err := each[1].AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		n += count
	}
	return n
}

// A topic is listened to while somebody has a tail of it, and no longer; and whoever comes back, at whatever moment, hears.
func TestBusTailsLeave(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := newPost(t, bus.Options{})
	raw := beside(t, p.server)
	open := func() bus.Subscription {
		t.Helper()
		tail, err := p.buses[1].Subscribe(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		return tail
	}
	await := func(want int64) {
		t.Helper()
		for subscriptions(ctx, t, raw) != want {
			if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
				t.Fatalf("%d subscriptions, want %d", subscriptions(ctx, t, raw), want)
			}
		}
	}
	await(0)
	first, second := open(), open()
	await(1)
	for range 2 { // twice is no error, and counts once
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	publishAll(ctx, t, p.buses[0], numbered(1, 3))
	await(1)
	if some, err := second.Next(ctx); err != nil || len(some) == 0 {
		t.Errorf("who stayed heard %d, %v", len(some), err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	await(0)

	var comers sync.WaitGroup
	for range 4 {
		comers.Go(func() {
			for range 25 {
				tail, err := p.buses[1].Subscribe(ctx, "t")
				if err != nil {
					t.Error(err)
					return
				}
				if err := tail.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	comers.Wait()
	last := open()
	publishAll(ctx, t, p.buses[0], numbered(4, 6))
	for heard := 0; heard < 3; {
		some, err := last.Next(ctx)
		if err != nil && !errors.Is(err, bus.ErrLagged) {
			t.Fatalf("heard %d, %v", heard, err)
		}
		if err != nil { // what was lost is published again
			publishAll(ctx, t, p.buses[0], numbered(4, 6))
		}
		heard += len(some)
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	await(0)
}
