package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bus"
	"orderflow/internal/bus/bustest"
)

func TestLocal(t *testing.T) {
	bustest.Run(t, func(t *testing.T, options bus.Options) (a, b bustest.Adapter) {
		t.Helper()
		local := bus.NewLocal(options)
		t.Cleanup(func() {
			if err := local.Close(); err != nil {
				t.Error(err)
			}
		})
		return local, local
	})
}

// numbered returns messages of topic "t" numbered from first to last.
func numbered(first, last int) []bus.Message {
	var all []bus.Message
	for n := first; n <= last; n++ {
		all = append(all, bus.Message{ID: strconv.Itoa(n), Topic: "t"})
	}
	return all
}

func publish(t testing.TB, b bus.Bus, messages []bus.Message) {
	t.Helper()
	if err := b.Publish(context.Background(), messages); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

func group(t testing.TB, b bus.Bus) bus.Group {
	t.Helper()
	consumer, err := b.Group(context.Background(), "t", "g")
	if err != nil {
		t.Fatalf("Group: %v", err)
	}
	return consumer
}

func fetch(t testing.TB, consumer bus.Group, limit int) (deliveries []bus.Delivery, got string) {
	t.Helper()
	deliveries, err := consumer.Fetch(context.Background(), limit)
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	for _, d := range deliveries {
		got += fmt.Sprintf(" %s/%d", d.ID, d.Attempt)
	}
	return deliveries, got
}

func wantDepth(t testing.TB, b *bus.Local, want bus.Depth) {
	t.Helper()
	if got, err := b.Depth(context.Background(), "t", "g"); err != nil || got != want {
		t.Errorf("the depth is %+v (%v), want %+v", got, err, want)
	}
}

func TestLocalDropsMessagesWithoutReaders(t *testing.T) {
	local := bus.NewLocal(bus.Options{Buffer: 1})
	publish(t, local, numbered(1, 100))
	consumer := group(t, local)
	publish(t, local, numbered(101, 101))
	if _, got := fetch(t, consumer, 10); got != " 101/1" {
		t.Errorf("fetched%s, want 101 alone", got)
	}
	if depth, err := local.Depth(t.Context(), "t", "another"); err != nil || depth != (bus.Depth{}) {
		t.Errorf("a group that does not exist has depth %+v (%v)", depth, err)
	}
}

func TestLocalRequeuesAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal(bus.Options{AckWithin: 10 * time.Second})
		slow, other := group(t, local), group(t, local)
		publish(t, local, numbered(1, 5))
		first, _ := fetch(t, slow, 2) // 1, 2 at 0 s
		time.Sleep(4 * time.Second)
		fetch(t, slow, 2) // 3, 4 at 4 s
		if err := slow.Ack(t.Context(), first[:1]); err != nil {
			t.Fatal(err)
		}

		time.Sleep(6*time.Second - time.Nanosecond)
		synctest.Wait()
		wantDepth(t, local, bus.Depth{Waiting: 1, Unacked: 3})
		time.Sleep(time.Nanosecond) // 10 s
		synctest.Wait()
		wantDepth(t, local, bus.Depth{Waiting: 2, Unacked: 2})
		time.Sleep(4 * time.Second) // 14 s: there was no call since, so only the timer can do it
		synctest.Wait()
		wantDepth(t, local, bus.Depth{Waiting: 4})
		if _, got := fetch(t, other, 10); got != " 3/2 4/2 2/2 5/1" {
			t.Errorf("fetched%s, want the requeued messages before 5", got)
		}
		time.Sleep(10 * time.Second) // the timer also works after it had nothing to do
		synctest.Wait()
		wantDepth(t, local, bus.Depth{Waiting: 4})
		if err := local.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait() // a timer that outlives the bus finds it closed
	})
}

func TestLocalWakesOneForEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal(bus.Options{})
		var woken sync.WaitGroup
		for range 3 {
			consumer := group(t, local)
			woken.Go(func() { fetch(t, consumer, 1) })
		}
		subscription, err := local.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		woken.Go(func() {
			if messages, err := subscription.Next(t.Context()); err != nil || len(messages) != 3 {
				t.Errorf("the subscription got %d messages (%v), want 3", len(messages), err)
			}
		})
		synctest.Wait() // all readers wait
		publish(t, local, numbered(1, 3))
		woken.Wait()
		wantDepth(t, local, bus.Depth{Unacked: 3})
		if err := local.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Of two waiting consumers, the first receives the wake-up signal and leaves before it takes a message. The second must be woken
// instead. (Whether the first one leaves in time is chance; hence the repetitions.)
func TestLocalKeepsTheWakeUpOfALeavingConsumer(t *testing.T) {
	leave := map[string]func(bus.Group, context.CancelFunc){
		"cancelled": func(_ bus.Group, cancel context.CancelFunc) { cancel() },
		"closed": func(consumer bus.Group, _ context.CancelFunc) {
			if err := consumer.Close(); err != nil {
				t.Error(err)
			}
		},
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 200 {
					leaveBeforeTaking(t, leave)
				}
			})
		})
	}
}

func leaveBeforeTaking(t *testing.T, leave func(bus.Group, context.CancelFunc)) {
	t.Helper()
	local := bus.NewLocal(bus.Options{})
	leaving, staying := group(t, local), group(t, local)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var first, second []bus.Delivery
	var both sync.WaitGroup
	both.Go(func() { first, _ = leaving.Fetch(ctx, 1) })
	synctest.Wait()
	both.Go(func() { second, _ = staying.Fetch(t.Context(), 1) })
	synctest.Wait()
	publish(t, local, numbered(1, 1))
	leave(leaving, cancel)
	synctest.Wait()
	if len(first)+len(second) == 0 {
		t.Error("a message waits, and the waiting consumer was not woken")
	}
	if err := local.Close(); err != nil {
		t.Fatal(err)
	}
	both.Wait()
}

func TestLocalDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var deadLettered []string
		local := bus.NewLocal(bus.Options{DeadLettered: func(group string, m bus.Message) {
			deadLettered = append(deadLettered, group+" "+m.Topic+" "+m.ID)
		}})
		publish(t, local, numbered(1, 1)) // before the group: dropped
		consumer := group(t, local)
		publish(t, local, numbered(2, 2))
		for attempt := 1; attempt <= bus.DefaultDeliveries; attempt++ {
			if _, got := fetch(t, consumer, 1); got != fmt.Sprintf(" 2/%d", attempt) {
				t.Errorf("delivery %d was%s", attempt, got)
			}
		}
		time.Sleep(bus.DefaultAckWithin)
		synctest.Wait()
		wantDepth(t, local, bus.Depth{DeadLettered: 1})
		if want := []string{"g t 2"}; !slices.Equal(deadLettered, want) {
			t.Errorf("dead-lettered %v, want %v", deadLettered, want)
		}
	})
}

func TestLocalRequeuesInOrder(t *testing.T) {
	local := bus.NewLocal(bus.Options{})
	closing, other := group(t, local), group(t, local)
	publish(t, local, numbered(1, 6))
	fetch(t, closing, 1)
	fetch(t, other, 1)
	fetch(t, closing, 2)
	if err := closing.Close(); err != nil {
		t.Fatal(err)
	}
	if _, got := fetch(t, other, 10); got != " 1/2 3/2 4/2 5/1 6/1" {
		t.Errorf("fetched%s after the close", got)
	}
}

func TestLocalFillsToItsBound(t *testing.T) {
	local := bus.NewLocal(bus.Options{Buffer: 8})
	group(t, local)
	publish(t, local, numbered(1, 8))
	if err := local.Publish(t.Context(), numbered(9, 9)); !errors.Is(err, bus.ErrFull) {
		t.Errorf("the ninth message: %v, want ErrFull", err)
	}
	other := bus.Message{ID: "x", Topic: "another"}
	if err := local.Publish(t.Context(), []bus.Message{other}); err != nil {
		t.Errorf("a message for another topic: %v", err)
	}
	if err := local.Publish(t.Context(), []bus.Message{other, {Topic: "t"}}); !errors.Is(err, bus.ErrFull) {
		t.Errorf("a slice of which a part does not fit: %v, want ErrFull", err)
	}
	wantDepth(t, local, bus.Depth{Waiting: 8})
}

func TestLocalSubscriptionLosesTheOldest(t *testing.T) {
	local := bus.NewLocal(bus.Options{SubscriptionBuffer: 8})
	subscription, err := local.Subscribe(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		publish(t, local, numbered(1, 8))
		publish(t, local, numbered(9, 20))
		if messages, err := subscription.Next(t.Context()); !errors.Is(err, bus.ErrLagged) {
			t.Fatalf("round %d: got %d messages (%v), want ErrLagged", round, len(messages), err)
		}
		publish(t, local, numbered(21, 21)) // another lost message: reported again
		if _, err := subscription.Next(t.Context()); !errors.Is(err, bus.ErrLagged) {
			t.Fatalf("round %d: a further loss was not reported: %v", round, err)
		}
		messages, err := subscription.Next(t.Context())
		if err != nil || len(messages) != 8 || messages[0].ID != "14" || messages[7].ID != "21" {
			t.Fatalf("round %d: got %+v (%v), want 14 to 21", round, messages, err)
		}
	}
	publish(t, local, numbered(1, 8)) // exactly full: no loss
	if messages, err := subscription.Next(t.Context()); err != nil || len(messages) != 8 {
		t.Errorf("got %d messages (%v), want 8", len(messages), err)
	}
}

func TestLocalLaggedSubscriptionWakesTheNextCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal(bus.Options{SubscriptionBuffer: 8})
		subscription, err := local.Subscribe(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		var calls sync.WaitGroup
		var lagged, got atomic.Int32
		for range 2 {
			calls.Go(func() {
				messages, err := subscription.Next(t.Context())
				if errors.Is(err, bus.ErrLagged) {
					lagged.Add(1)
				}
				got.Add(int32(len(messages)))
			})
		}
		synctest.Wait() // both wait
		publish(t, local, numbered(1, 9))
		calls.Wait()
		if lagged.Load() != 1 || got.Load() != 8 {
			t.Errorf("%d calls got ErrLagged and %d messages were delivered, want 1 and 8", lagged.Load(), got.Load())
		}
	})
}

// BenchmarkLocal measures one publisher of slices, one group with some consumers that acknowledge, and one subscription.
func BenchmarkLocal(b *testing.B) {
	for _, shape := range []struct{ size, consumers int }{{1, 1}, {64, 1}, {64, 4}, {512, 1}} {
		b.Run(fmt.Sprintf("slices of %d, %d consumers", shape.size, shape.consumers), func(b *testing.B) {
			local := bus.NewLocal(bus.Options{})
			subscription, err := local.Subscribe(b.Context(), "t")
			if err != nil {
				b.Fatal(err)
			}
			var readers sync.WaitGroup
			for range shape.consumers {
				consumer := group(b, local)
				readers.Go(func() {
					for {
						deliveries, err := consumer.Fetch(context.Background(), 512)
						if err == nil {
							err = consumer.Ack(context.Background(), deliveries)
						}
						if err != nil {
							return
						}
					}
				})
			}
			readers.Go(func() {
				for {
					if _, err := subscription.Next(context.Background()); errors.Is(err, bus.ErrClosed) {
						return
					}
				}
			})
			messages := numbered(1, shape.size)
			b.ReportAllocs()
			refused := 0
			for b.Loop() {
				for local.Publish(b.Context(), messages) != nil {
					refused++
				}
			}
			b.ReportMetric(float64(b.N*shape.size)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(refused)/float64(b.N), "refused/op")
			if err := local.Close(); err != nil {
				b.Fatal(err)
			}
			readers.Wait()
		})
	}
}
