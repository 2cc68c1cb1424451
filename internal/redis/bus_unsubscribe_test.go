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

// subscriptions returns how many connections of a server are subscribed to channels.
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

// A process is subscribed to a topic only while it has a subscription. A new subscription receives messages, whenever it begins.
func TestBusUnsubscribes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := newBuses(t, bus.Options{})
	raw := rawClient(t, p.server)
	open := func() bus.Subscription {
		t.Helper()
		subscription, err := p.buses[1].Subscribe(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		return subscription
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
	for range 2 { // closing twice is not an error, and counts once
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	publishAll(ctx, t, p.buses[0], numbered(1, 3))
	await(1)
	if some, err := second.Next(ctx); err != nil || len(some) == 0 {
		t.Errorf("the remaining subscription received %d, %v", len(some), err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	await(0)

	var comers sync.WaitGroup
	for range 4 {
		comers.Go(func() {
			for range 25 {
				subscription, err := p.buses[1].Subscribe(ctx, "t")
				if err != nil {
					t.Error(err)
					return
				}
				if err := subscription.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	comers.Wait()
	last := open()
	publishAll(ctx, t, p.buses[0], numbered(4, 6))
	for received := 0; received < 3; {
		some, err := last.Next(ctx)
		if err != nil && !errors.Is(err, bus.ErrLagged) {
			t.Fatalf("received %d, %v", received, err)
		}
		if err != nil { // a lost message is published again
			publishAll(ctx, t, p.buses[0], numbered(4, 6))
		}
		received += len(some)
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	await(0)
}
