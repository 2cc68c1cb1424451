package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"orderflow/internal/bus"
)

func subscriptionsSeeAll(t *testing.T, s suite) {
	one := s.subscribe(t, s.a)
	s.publish(t, s.b, s.messages(1, 3))
	two := s.subscribe(t, s.b)
	s.publish(t, s.a, s.messages(4, 6))
	wantIDs(t, messageIDs(s.next(t, one, 6)), 1, 6)
	wantIDs(t, messageIDs(s.next(t, two, 3)), 4, 6)
	s.publish(t, s.a, s.messages(7, 7))
	wantIDs(t, messageIDs(s.next(t, one, 1)), 7, 7)
	wantIDs(t, messageIDs(s.next(t, two, 1)), 7, 7)
}

// subscriptionLags publishes far more than a subscription holds. Every gap in what it reads must be reported by ErrLagged.
func subscriptionLags(t *testing.T, s suite) {
	const published = 100
	subscription := s.subscribe(t, s.b)
	for n := 1; n <= published; n++ {
		s.publish(t, s.a, s.messages(n, n))
	}
	seen, lagged := make(map[string]int), 0
	for seen[fmt.Sprint(published)] == 0 {
		messages, err := subscription.Next(s.ctx)
		if errors.Is(err, bus.ErrLagged) {
			lagged++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			seen[m.ID]++
		}
	}
	if missed := published - len(seen); missed > 0 && lagged == 0 {
		t.Errorf("%d messages of %d were lost without ErrLagged", missed, published)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("message %s came %d times", id, n)
		}
	}
	s.publish(t, s.a, s.messages(published+1, published+1)) // the subscription continues
	wantIDs(t, messageIDs(s.next(t, subscription, 1)), published+1, published+1)
}

func closedSubscription(t *testing.T, s suite) {
	closed, other := s.subscribe(t, s.a), s.subscribe(t, s.a)
	waiting := make(chan error, 1)
	go func() {
		_, err := closed.Next(s.ctx)
		waiting <- err
	}()
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waiting; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("the waiting Next of a closed subscription: %v, want ErrClosed", err)
	}
	if _, err := closed.Next(s.ctx); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Next of a closed subscription: %v, want ErrClosed", err)
	}
	s.publish(t, s.b, s.messages(1, 1))
	wantIDs(t, messageIDs(s.next(t, other, 1)), 1, 1)
}

// many checks that several consumers together get each message of several publishers once.
func many(t *testing.T, s suite) {
	const publishers, consumers, slices, size = 4, 4, 25, 8
	const total = publishers * slices * size
	ctx, done := context.WithCancel(s.ctx)
	defer done()
	var mu sync.Mutex
	var got []string
	var readers, writers sync.WaitGroup
	for n := range consumers {
		consumer := s.consumer(t, []Adapter{s.a, s.b}[n%2], "g")
		readers.Go(func() {
			for {
				some, err := consumer.Fetch(ctx, 1+n*5)
				if errors.Is(err, context.Canceled) {
					return
				}
				if err == nil {
					err = consumer.Ack(ctx, some)
				}
				if err != nil {
					t.Errorf("consumer %d: %v", n, err)
					return
				}
				mu.Lock()
				if got = append(got, ids(some)...); len(got) >= total {
					done()
				}
				mu.Unlock()
			}
		})
	}
	for n := range publishers {
		writers.Go(func() {
			for i := range slices {
				first := (n*slices + i) * size
				if err := []Adapter{s.a, s.b}[n%2].Publish(s.ctx, s.messages(first, first+size-1)); err != nil {
					t.Errorf("publisher %d: %v", n, err)
				}
			}
		})
	}
	writers.Wait()
	readers.Wait()
	wantIDs(t, got, 0, total-1)
	s.depth(t, s.a, "g", bus.Depth{})
}

// wakes publishes one message at a time to readers that usually wait already.
func wakes(t *testing.T, s suite) {
	const rounds = 50
	consumer, subscription := s.consumer(t, s.b, "g"), s.subscribe(t, s.b)
	fetched, read := make(chan string), make(chan string)
	var readers sync.WaitGroup
	readers.Go(func() {
		defer close(fetched)
		for range rounds {
			some, err := consumer.Fetch(s.ctx, 1)
			if err != nil {
				t.Errorf("Fetch: %v", err)
				return
			}
			fetched <- some[0].ID
		}
	})
	readers.Go(func() {
		defer close(read)
		for range rounds {
			messages, err := subscription.Next(s.ctx)
			if err != nil {
				t.Errorf("Next: %v", err)
				return
			}
			read <- messages[0].ID
		}
	})
	for n := range rounds {
		s.publish(t, s.a, s.messages(n, n))
		wantIDs(t, []string{<-fetched}, n, n)
		wantIDs(t, []string{<-read}, n, n)
	}
	readers.Wait()
}

// wakesAll publishes a slice to as many consumers as it has messages. Each consumer fetches only one, so all of them must be woken.
func wakesAll(t *testing.T, s suite) {
	const rounds, consumers = 10, 4
	var all []bus.Group
	for n := range consumers {
		all = append(all, s.consumer(t, []Adapter{s.a, s.b}[n%2], "g"))
	}
	for range rounds {
		got := make(chan string, consumers)
		var readers sync.WaitGroup
		for _, consumer := range all {
			readers.Go(func() {
				some, err := consumer.Fetch(s.ctx, 1)
				if err == nil {
					err = consumer.Ack(s.ctx, some)
				}
				if err != nil {
					t.Errorf("a consumer was not woken: %v", err)
					return
				}
				got <- some[0].ID
			})
		}
		s.publish(t, s.a, s.messages(1, consumers))
		readers.Wait()
		close(got)
		var seen []string
		for id := range got {
			seen = append(seen, id)
		}
		wantIDs(t, seen, 1, consumers)
	}
}

// cancelled cancels the calls of one consumer repeatedly while messages are published one by one. Each message must reach it or the other
// consumer, which waits without end: a wake-up lost with a cancelled call would block it.
func cancelled(t *testing.T, s suite) {
	const published = 200
	hasty, patient := s.consumer(t, s.a, "g"), s.consumer(t, s.b, "g")
	come := make(chan []bus.Delivery, published)
	ctx, done := context.WithCancel(s.ctx)
	var readers sync.WaitGroup
	readers.Go(func() {
		for ctx.Err() == nil {
			if some, err := patient.Fetch(ctx, 1); err == nil {
				come <- some
			}
		}
	})
	for n := range published {
		call, cancel := context.WithCancel(s.ctx)
		var hasted sync.WaitGroup
		hasted.Go(func() {
			if some, err := hasty.Fetch(call, 1); err == nil {
				come <- some
			}
		})
		var publishing sync.WaitGroup
		publishing.Go(func() {
			if err := s.a.Publish(s.ctx, s.messages(n, n)); err != nil {
				t.Errorf("publish: %v", err)
			}
		})
		cancel()
		publishing.Wait()
		hasted.Wait()
		select {
		case some := <-come:
			wantIDs(t, ids(some), n, n)
		case <-s.ctx.Done():
			t.Fatalf("message %d was not delivered", n)
		}
	}
	done()
	readers.Wait()
}

func endedContexts(t *testing.T, s suite) {
	consumer, subscription := s.consumer(t, s.a, "g"), s.subscribe(t, s.a)
	ctx, cancel := context.WithCancel(s.ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := consumer.Fetch(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled Fetch: %v, want context.Canceled", err)
		}
	})
	waiting.Go(func() {
		if _, err := subscription.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled Next: %v, want context.Canceled", err)
		}
	})
	cancel()
	waiting.Wait()
	s.publish(t, s.b, s.messages(1, 1))
	if _, err := consumer.Fetch(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch under a context that has ended: %v, want context.Canceled", err)
	}
	if err := s.a.Publish(ctx, s.messages(2, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish under a context that has ended: %v, want context.Canceled", err)
	}
	wantIDs(t, ids(s.fetchAndAck(t, consumer, 1)), 1, 1)
	wantIDs(t, messageIDs(s.next(t, subscription, 1)), 1, 1)
}

func closes(t *testing.T, s suite) {
	consumer, subscription := s.consumer(t, s.a, "g"), s.subscribe(t, s.a)
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if _, err := consumer.Fetch(s.ctx, 1); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("the waiting Fetch of a closed bus: %v, want ErrClosed", err)
			}
		})
		waiting.Go(func() {
			if _, err := subscription.Next(s.ctx); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("the waiting Next of a closed bus: %v, want ErrClosed", err)
			}
		})
	}
	for range 2 {
		if err := s.a.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	waiting.Wait()
	_, groupErr := s.a.Group(s.ctx, s.topic, "g")
	_, subscribeErr := s.a.Subscribe(s.ctx, s.topic)
	_, fetchErr := consumer.Fetch(s.ctx, 1)
	_, nextErr := subscription.Next(s.ctx)
	for call, err := range map[string]error{
		"Publish": s.a.Publish(s.ctx, s.messages(1, 1)), "Group": groupErr, "Subscribe": subscribeErr, "Fetch": fetchErr, "Next": nextErr,
		"Ack": consumer.Ack(s.ctx, []bus.Delivery{{Tag: 1}}),
	} {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s on a closed bus: %v, want ErrClosed", call, err)
		}
	}
}

func closesConsumer(t *testing.T, s suite) {
	closed, other := s.consumer(t, s.a, "g"), s.consumer(t, s.b, "g")
	waiting := make(chan error, 1)
	go func() {
		_, err := closed.Fetch(s.ctx, 1)
		waiting <- err
	}()
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waiting; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("the waiting Fetch of a closed consumer: %v, want ErrClosed", err)
	}
	s.publish(t, s.a, s.messages(1, 2))
	if _, err := closed.Fetch(s.ctx, 1); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Fetch of a closed consumer: %v, want ErrClosed", err)
	}
	if err := closed.Ack(s.ctx, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Ack of a closed consumer: %v, want ErrClosed", err)
	}
	wantIDs(t, ids(s.fetchAndAck(t, other, 2)), 1, 2)
}
