package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"orderflow/internal/bus"
)

func subscriptionsSeeAll(t *testing.T, r suite) {
	one := r.subscribe(t, r.a)
	r.publish(t, r.b, r.messages(1, 3))
	two := r.subscribe(t, r.b)
	r.publish(t, r.a, r.messages(4, 6))
	wantIDs(t, messageIDs(r.next(t, one, 6)), 1, 6)
	wantIDs(t, messageIDs(r.next(t, two, 3)), 4, 6)
	r.publish(t, r.a, r.messages(7, 7))
	wantIDs(t, messageIDs(r.next(t, one, 1)), 7, 7)
	wantIDs(t, messageIDs(r.next(t, two, 1)), 7, 7)
}

// lags publishes far more than a tail holds. What the tail then reads must have no gap that it was not told of.
func subscriptionLags(t *testing.T, r suite) {
	const published = 100
	tail := r.subscribe(t, r.b)
	for n := 1; n <= published; n++ {
		r.publish(t, r.a, r.messages(n, n))
	}
	seen, told := make(map[string]int), 0
	for seen[fmt.Sprint(published)] == 0 {
		messages, err := tail.Next(r.ctx)
		if errors.Is(err, bus.ErrLagged) {
			told++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			seen[m.ID]++
		}
	}
	if missed := published - len(seen); missed > 0 && told == 0 {
		t.Errorf("%d messages of %d were lost without a word", missed, published)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("message %s came %d times", id, n)
		}
	}
	r.publish(t, r.a, r.messages(published+1, published+1)) // and it goes on
	wantIDs(t, messageIDs(r.next(t, tail, 1)), published+1, published+1)
}

func closedSubscription(t *testing.T, r suite) {
	closed, other := r.subscribe(t, r.a), r.subscribe(t, r.a)
	waiting := make(chan error, 1)
	go func() {
		_, err := closed.Next(r.ctx)
		waiting <- err
	}()
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-waiting; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("the waiting Next of a closed tail: %v, want ErrClosed", err)
	}
	if _, err := closed.Next(r.ctx); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Next of a closed tail: %v, want ErrClosed", err)
	}
	r.publish(t, r.b, r.messages(1, 1))
	wantIDs(t, messageIDs(r.next(t, other, 1)), 1, 1)
}

// many counts what each of several consumers gets of what several publishers publish.
func many(t *testing.T, r suite) {
	const publishers, consumers, slices, size = 4, 4, 25, 8
	const total = publishers * slices * size
	ctx, done := context.WithCancel(r.ctx)
	defer done()
	var mu sync.Mutex
	var got []string
	var readers, writers sync.WaitGroup
	for n := range consumers {
		consumer := r.consumer(t, []Adapter{r.a, r.b}[n%2], "g")
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
				if err := []Adapter{r.a, r.b}[n%2].Publish(r.ctx, r.messages(first, first+size-1)); err != nil {
					t.Errorf("publisher %d: %v", n, err)
				}
			}
		})
	}
	writers.Wait()
	readers.Wait()
	wantIDs(t, got, 0, total-1)
	r.depth(t, r.a, "g", bus.Depth{})
}

// wakes plays ping-pong with readers who wait already when a message comes, most of the time.
func wakes(t *testing.T, r suite) {
	const rounds = 50
	consumer, tail := r.consumer(t, r.b, "g"), r.subscribe(t, r.b)
	fetched, read := make(chan string), make(chan string)
	var readers sync.WaitGroup
	readers.Go(func() {
		defer close(fetched)
		for range rounds {
			some, err := consumer.Fetch(r.ctx, 1)
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
			messages, err := tail.Next(r.ctx)
			if err != nil {
				t.Errorf("Next: %v", err)
				return
			}
			read <- messages[0].ID
		}
	})
	for n := range rounds {
		r.publish(t, r.a, r.messages(n, n))
		wantIDs(t, []string{<-fetched}, n, n)
		wantIDs(t, []string{<-read}, n, n)
	}
	readers.Wait()
}

// wakesAll publishes one slice to as many consumers as it has messages. Each takes one and does not come back, so that
// every one of them has to be woken.
func wakesAll(t *testing.T, r suite) {
	const rounds, consumers = 10, 4
	var all []bus.Group
	for n := range consumers {
		all = append(all, r.consumer(t, []Adapter{r.a, r.b}[n%2], "g"))
	}
	for range rounds {
		got := make(chan string, consumers)
		var readers sync.WaitGroup
		for _, consumer := range all {
			readers.Go(func() {
				some, err := consumer.Fetch(r.ctx, 1)
				if err == nil {
					err = consumer.Ack(r.ctx, some)
				}
				if err != nil {
					t.Errorf("a consumer was not woken: %v", err)
					return
				}
				got <- some[0].ID
			})
		}
		r.publish(t, r.a, r.messages(1, consumers))
		readers.Wait()
		close(got)
		var seen []string
		for id := range got {
			seen = append(seen, id)
		}
		wantIDs(t, seen, 1, consumers)
	}
}

// cancelled lets one consumer's calls be cancelled over and over while messages come one by one. Each message must
// reach it or the other, who waits without end: a wake-up lost with a cancelled call would leave him waiting.
func cancelled(t *testing.T, r suite) {
	const published = 200
	hasty, patient := r.consumer(t, r.a, "g"), r.consumer(t, r.b, "g")
	come := make(chan []bus.Delivery, published)
	ctx, done := context.WithCancel(r.ctx)
	var readers sync.WaitGroup
	readers.Go(func() {
		for ctx.Err() == nil {
			if some, err := patient.Fetch(ctx, 1); err == nil {
				come <- some
			}
		}
	})
	for n := range published {
		call, cancel := context.WithCancel(r.ctx)
		var hasted sync.WaitGroup
		hasted.Go(func() {
			if some, err := hasty.Fetch(call, 1); err == nil {
				come <- some
			}
		})
		var publishing sync.WaitGroup
		publishing.Go(func() {
			if err := r.a.Publish(r.ctx, r.messages(n, n)); err != nil {
				t.Errorf("publish: %v", err)
			}
		})
		cancel()
		publishing.Wait()
		hasted.Wait()
		select {
		case some := <-come:
			wantIDs(t, ids(some), n, n)
		case <-r.ctx.Done():
			t.Fatalf("message %d reached nobody", n)
		}
	}
	done()
	readers.Wait()
}

func endedContexts(t *testing.T, r suite) {
	consumer, tail := r.consumer(t, r.a, "g"), r.subscribe(t, r.a)
	ctx, cancel := context.WithCancel(r.ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := consumer.Fetch(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled Fetch: %v, want context.Canceled", err)
		}
	})
	waiting.Go(func() {
		if _, err := tail.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled Next: %v, want context.Canceled", err)
		}
	})
	cancel()
	waiting.Wait()
	r.publish(t, r.b, r.messages(1, 1))
	if _, err := consumer.Fetch(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch under a context that has ended: %v, want context.Canceled", err)
	}
	if err := r.a.Publish(ctx, r.messages(2, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish under a context that has ended: %v, want context.Canceled", err)
	}
	wantIDs(t, ids(r.fetchAndAck(t, consumer, 1)), 1, 1)
	wantIDs(t, messageIDs(r.next(t, tail, 1)), 1, 1)
}

func closes(t *testing.T, r suite) {
	consumer, tail := r.consumer(t, r.a, "g"), r.subscribe(t, r.a)
	var waiting sync.WaitGroup
	for range 3 {
		waiting.Go(func() {
			if _, err := consumer.Fetch(r.ctx, 1); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("the waiting Fetch of a closed bus: %v, want ErrClosed", err)
			}
		})
		waiting.Go(func() {
			if _, err := tail.Next(r.ctx); !errors.Is(err, bus.ErrClosed) {
				t.Errorf("the waiting Next of a closed bus: %v, want ErrClosed", err)
			}
		})
	}
	for range 2 {
		if err := r.a.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	waiting.Wait()
	_, groupErr := r.a.Group(r.ctx, r.topic, "g")
	_, tailErr := r.a.Subscribe(r.ctx, r.topic)
	_, fetchErr := consumer.Fetch(r.ctx, 1)
	_, nextErr := tail.Next(r.ctx)
	for call, err := range map[string]error{
		"Publish": r.a.Publish(r.ctx, r.messages(1, 1)), "Group": groupErr, "Tail": tailErr, "Fetch": fetchErr, "Next": nextErr,
		"Ack": consumer.Ack(r.ctx, []bus.Delivery{{Tag: 1}}),
	} {
		if !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%s on a closed bus: %v, want ErrClosed", call, err)
		}
	}
}

func closesConsumer(t *testing.T, r suite) {
	closed, other := r.consumer(t, r.a, "g"), r.consumer(t, r.b, "g")
	waiting := make(chan error, 1)
	go func() {
		_, err := closed.Fetch(r.ctx, 1)
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
	r.publish(t, r.a, r.messages(1, 2))
	if _, err := closed.Fetch(r.ctx, 1); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Fetch of a closed consumer: %v, want ErrClosed", err)
	}
	if err := closed.Ack(r.ctx, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Ack of a closed consumer: %v, want ErrClosed", err)
	}
	wantIDs(t, ids(r.fetchAndAck(t, other, 2)), 1, 2)
}
