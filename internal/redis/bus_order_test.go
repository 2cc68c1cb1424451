package redis_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"orderflow/internal/bus"
	"orderflow/test/env"
)

// patience bounds every wait. Only a failing test reaches it.
const patience = time.Minute

// numbered returns messages of topic "t" numbered from first to last, about as long as those of the product.
func numbered(first, last int) []bus.Message {
	body := make([]byte, 256)
	messages := make([]bus.Message, 0, last-first+1)
	for n := first; n <= last; n++ {
		id := strconv.Itoa(n)
		messages = append(messages, bus.Message{ID: id, Key: id, Topic: "t", Body: body, Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
	}
	return messages
}

func publishAll(ctx context.Context, t testing.TB, b bus.Bus, messages []bus.Message) {
	t.Helper()
	if err := b.Publish(ctx, messages); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

func consumerOf(ctx context.Context, t testing.TB, b bus.Bus) bus.Group {
	t.Helper()
	g, err := b.Group(ctx, "t", "g")
	if err != nil {
		t.Fatalf("Group: %v", err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func fetchSome(ctx context.Context, t testing.TB, g bus.Group, limit int) []bus.Delivery {
	t.Helper()
	some, err := g.Fetch(ctx, limit)
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	return some
}

// Messages of a dead consumer are reclaimed although there are always new ones to read.
func TestBusReclaimsUnderLoad(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	address, prefix := env.Redis(t)
	b := newBus(t, address, prefix, bus.Options{AckWithin: 250 * time.Millisecond})
	vanishes, other := consumerOf(ctx, t, b), consumerOf(ctx, t, b)
	publishAll(ctx, t, b, numbered(1, 3))
	left := map[string]bool{}
	for len(left) < 3 {
		for _, d := range fetchSome(ctx, t, vanishes, 3) {
			left[d.ID] = true
		}
	}
	next := 4
	for len(left) > 0 {
		depth, err := b.Depth(ctx, "t", "g")
		if err != nil {
			t.Fatalf("%d messages of the dead consumer were not reclaimed: %v", len(left), err)
		}
		if depth.Waiting < 1024 { // keep a backlog
			publishAll(ctx, t, b, numbered(next, next+1023))
			next += 1024
		}
		some := fetchSome(ctx, t, other, 64)
		for _, d := range some {
			delete(left, d.ID)
		}
		if err := other.Ack(ctx, some); err != nil {
			t.Fatal(err)
		}
	}
}

// A consumer with a small limit receives a long queue in about its order: prefetched messages are not returned at each call.
func TestBusKeepsPlaces(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	address, prefix := env.Redis(t)
	b := newBus(t, address, prefix, bus.Options{})
	g := consumerOf(ctx, t, b)
	const published = 1024
	publishAll(ctx, t, b, numbered(0, published-1))
	for place := 0; place < published; {
		some := fetchSome(ctx, t, g, 5)
		for _, d := range some {
			if n, err := strconv.Atoi(d.ID); err != nil || n > place+128 || n < place-128 {
				t.Fatalf("message %s was delivered at position %d", d.ID, place)
			}
			place++
		}
		if err := g.Ack(ctx, some); err != nil {
			t.Fatal(err)
		}
	}
}
