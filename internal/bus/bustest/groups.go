package bustest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"orderflow/internal/bus"
)

func delivers(t *testing.T, r suite) {
	consumer := r.consumer(t, r.b, "g")
	sent := r.message("7-1")
	r.publish(t, r.a, []bus.Message{sent})
	got := r.fetch(t, consumer, 1)[0]
	if got.ID != sent.ID || got.Key != sent.Key || got.Topic != sent.Topic || got.Traceparent != sent.Traceparent ||
		!bytes.Equal(got.Body, sent.Body) {
		t.Errorf("got %+v, want %+v", got.Message, sent)
	}
	if got.Attempt != 1 {
		t.Errorf("attempt %d of a first delivery, want 1", got.Attempt)
	}
	r.ack(t, consumer, []bus.Delivery{got})
	r.publish(t, r.a, nil) // nothing, and no error
	r.depth(t, r.a, "g", bus.Depth{})
}

func bodies(t *testing.T, r suite) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	bodies := [][]byte{nil, {}, {0}, []byte("plain"), {0xff, 0xfe, 0x00, 0xc3}, every, bytes.Repeat(every, 1024)}
	var messages []bus.Message
	for i, body := range bodies {
		m := r.message(fmt.Sprint(i))
		m.Body = slices.Clone(body)
		messages = append(messages, m)
	}
	consumer, tail := r.consumer(t, r.b, "g"), r.subscribe(t, r.b)
	r.publish(t, r.a, messages)
	check := func(m bus.Message) {
		for i, body := range bodies {
			if m.ID == fmt.Sprint(i) && !bytes.Equal(m.Body, body) {
				t.Errorf("body %d of %d bytes came as %d other ones", i, len(body), len(m.Body))
			}
		}
	}
	deliveries := r.fetchAndAck(t, consumer, len(bodies))
	wantIDs(t, ids(deliveries), 0, len(bodies)-1)
	for _, d := range deliveries {
		check(d.Message)
	}
	for _, m := range r.next(t, tail, len(bodies)) {
		check(m)
	}
}

func slice(t *testing.T, r suite) {
	consumer, tail := r.consumer(t, r.b, "g"), r.subscribe(t, r.b)
	messages := r.messages(1, 3)
	r.publish(t, r.a, messages)
	clear(messages)
	wantIDs(t, ids(r.fetchAndAck(t, consumer, 3)), 1, 3)
	wantIDs(t, messageIDs(r.next(t, tail, 3)), 1, 3)
}

func limits(t *testing.T, r suite) {
	consumer := r.consumer(t, r.b, "g")
	r.publish(t, r.a, r.messages(1, 10))
	var all []bus.Delivery
	for len(all) < 10 {
		some, err := consumer.Fetch(r.ctx, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(some) < 1 || len(some) > 3 {
			t.Fatalf("a fetch of at most 3 returned %d", len(some))
		}
		all = append(all, some...)
	}
	wantIDs(t, ids(all), 1, 10)
}

func limitBelowOne(t *testing.T, r suite) {
	consumer := r.consumer(t, r.a, "g")
	r.publish(t, r.a, r.messages(1, 1))
	for _, limit := range []int{0, -1} {
		if got, err := consumer.Fetch(r.ctx, limit); err == nil {
			t.Errorf("Fetch(%d) returned %d messages and no error", limit, len(got))
		}
	}
	wantIDs(t, ids(r.fetchAndAck(t, consumer, 1)), 1, 1)
}

// order holds where the adapter promises it; elsewhere all arrive, in some order.
func order(t *testing.T, r suite) {
	consumer, tail := r.consumer(t, r.b, "g"), r.subscribe(t, r.b)
	for n := 1; n <= 60; n += 3 {
		r.publish(t, r.a, r.messages(n, n+2))
	}
	fetched, read := r.fetchAndAck(t, consumer, 60), r.next(t, tail, 60)
	wantIDs(t, ids(fetched), 1, 60)
	wantIDs(t, messageIDs(read), 1, 60)
	if !r.a.Features().Ordered {
		return
	}
	for i := range 60 {
		if want := fmt.Sprint(i + 1); fetched[i].ID != want || read[i].ID != want {
			t.Fatalf("in place %d the group got %s and the tail %s, want %s", i, fetched[i].ID, read[i].ID, want)
		}
	}
}

func groups(t *testing.T, r suite) {
	one, two := r.consumer(t, r.a, "first"), r.consumer(t, r.b, "first")
	other := r.consumer(t, r.b, "second")
	r.publish(t, r.a, r.messages(1, 10))
	shared := append(r.fetchAndAck(t, one, 4), r.fetchAndAck(t, two, 6)...)
	wantIDs(t, ids(shared), 1, 10)
	wantIDs(t, ids(r.fetchAndAck(t, other, 10)), 1, 10)
}

func gathers(t *testing.T, r suite) {
	first := r.consumer(t, r.a, "g")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	r.publish(t, r.b, r.messages(1, 5))
	wantIDs(t, ids(r.fetchAndAck(t, r.consumer(t, r.b, "g"), 5)), 1, 5)
}

func topics(t *testing.T, r suite) {
	other := r
	other.topic += "-other"
	mine, theirs := r.consumer(t, r.b, "g"), other.consumer(t, r.b, "g")
	unread := bus.Message{ID: "9", Topic: r.topic + "-unread"}
	r.publish(t, r.a, slices.Concat(r.messages(1, 3), other.messages(4, 5), []bus.Message{unread}, r.messages(6, 6)))
	got := ids(r.fetchAndAck(t, mine, 4))
	slices.Sort(got)
	if want := []string{"1", "2", "3", "6"}; !slices.Equal(got, want) {
		t.Errorf("the topic got %v, want %v", got, want)
	}
	wantIDs(t, ids(r.fetchAndAck(t, theirs, 2)), 4, 5)
	r.depth(t, r.a, "g", bus.Depth{})
	other.depth(t, r.a, "g", bus.Depth{})
}

func acknowledged(t *testing.T, r suite) {
	consumer := r.consumer(t, r.a, "g")
	r.publish(t, r.a, r.messages(1, 5))
	r.depth(t, r.b, "g", bus.Depth{Waiting: 5})
	got := r.fetch(t, consumer, 5)
	r.depth(t, r.b, "g", bus.Depth{Unacked: 5})
	r.ack(t, consumer, got[1:3])
	r.depth(t, r.b, "g", bus.Depth{Unacked: 3})
	r.ack(t, consumer, slices.Concat(got[:1], got[3:]))
	r.depth(t, r.b, "g", bus.Depth{})
	if err := consumer.Close(); err != nil {
		t.Fatal(err)
	}
	// Nothing comes again: the next that comes is the next that is published.
	r.publish(t, r.a, r.messages(6, 6))
	wantIDs(t, ids(r.fetchAndAck(t, r.consumer(t, r.b, "g"), 1)), 6, 6)
}

func acknowledgedTwice(t *testing.T, r suite) {
	consumer := r.consumer(t, r.a, "g")
	r.publish(t, r.a, r.messages(1, 1))
	late := r.fetch(t, consumer, 1)
	again := r.fetch(t, consumer, 1) // the time to acknowledge in has passed
	if again[0].ID != "1" || again[0].Attempt < 2 {
		t.Fatalf("got message %s, attempt %d, want 1 once more", again[0].ID, again[0].Attempt)
	}
	r.ack(t, consumer, late)
	r.ack(t, consumer, again)
	r.ack(t, consumer, again)
	r.ack(t, consumer, nil)
	for { // on a machine that stands still it may come a third time
		depth, err := r.a.Depth(r.ctx, r.topic, "g")
		if err != nil {
			t.Fatal(err)
		}
		if depth == (bus.Depth{}) {
			return
		}
		r.ack(t, consumer, r.fetch(t, consumer, 1))
	}
}

func closedConsumer(t *testing.T, r suite) {
	first, second := r.consumer(t, r.a, "g"), r.consumer(t, r.b, "g")
	r.publish(t, r.a, r.messages(1, 6))
	held := r.fetch(t, first, 4)
	r.ack(t, first, held[:1])
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	attempts := make(map[string]int)
	for len(attempts) < 5 {
		d := r.fetchAndAck(t, second, 1)[0]
		attempts[d.ID] = d.Attempt
	}
	for _, d := range held[1:] {
		if attempts[d.ID] < 2 {
			t.Errorf("message %s came again as attempt %d, want 2 or more", d.ID, attempts[d.ID])
		}
	}
	if _, again := attempts[held[0].ID]; again {
		t.Errorf("message %s came again, and was acknowledged", held[0].ID)
	}
	r.depth(t, r.a, "g", bus.Depth{})
}

func vanishedConsumer(t *testing.T, r suite) {
	vanishes, second := r.consumer(t, r.a, "g"), r.consumer(t, r.b, "g")
	r.publish(t, r.a, r.messages(1, 3))
	r.fetch(t, vanishes, 3)
	again := make(map[string]bool)
	for len(again) < 3 { // waiting already when the time has passed
		d := r.fetchAndAck(t, second, 1)[0]
		if d.Attempt < 2 {
			t.Errorf("message %s came again as attempt %d, want 2 or more", d.ID, d.Attempt)
		}
		again[d.ID] = true
	}
	r.depth(t, r.a, "g", bus.Depth{})
}

func deadLetters(t *testing.T, r suite) {
	r.consumer(t, r.a, "g")
	r.publish(t, r.a, []bus.Message{r.message("poison")})
	for attempt := 1; attempt <= 3; attempt++ {
		consumer := r.consumer(t, r.b, "g")
		if got := r.fetch(t, consumer, 1)[0]; got.ID != "poison" || got.Attempt != attempt {
			t.Fatalf("delivery %d is of message %s and says attempt %d", attempt, got.ID, got.Attempt)
		}
		if attempt == 2 { // the second one neither acknowledges nor closes in time
			continue
		}
		if err := consumer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r.depth(t, r.a, "g", bus.Depth{DeadLettered: 1})
	r.publish(t, r.a, r.messages(1, 2)) // the group goes on without it
	wantIDs(t, ids(r.fetchAndAck(t, r.consumer(t, r.b, "g"), 2)), 1, 2)
	r.depth(t, r.a, "g", bus.Depth{DeadLettered: 1})
}

func full(t *testing.T, r suite) {
	consumer := r.consumer(t, r.b, "g")
	accepted := 0
	for {
		err := r.a.Publish(r.ctx, r.messages(accepted+1, accepted+1))
		if errors.Is(err, bus.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if accepted++; accepted > 8 {
			t.Fatal("a group bound to 8 messages took 9")
		}
	}
	if accepted == 0 {
		t.Fatal("an empty group took nothing")
	}
	wantIDs(t, ids(r.fetchAndAck(t, consumer, accepted)), 1, accepted)
	r.depth(t, r.a, "g", bus.Depth{})
	r.publish(t, r.a, r.messages(1, 1)) // there is room again
	wantIDs(t, ids(r.fetchAndAck(t, consumer, 1)), 1, 1)
}

func refusedWhole(t *testing.T, r suite) {
	if !r.a.Features().Atomic {
		t.Skip("the adapter does not promise it")
	}
	empty, filled := r.consumer(t, r.b, "empty"), r.consumer(t, r.b, "filled")
	tail := r.subscribe(t, r.b)
	r.publish(t, r.a, r.messages(1, 5))
	r.fetchAndAck(t, empty, 5)
	if err := r.a.Publish(r.ctx, r.messages(11, 15)); !errors.Is(err, bus.ErrFull) {
		t.Fatalf("5 messages more than 3 are left room for: %v, want ErrFull", err)
	}
	r.publish(t, r.a, r.messages(6, 8)) // these three fit
	wantIDs(t, ids(r.fetchAndAck(t, empty, 3)), 6, 8)
	wantIDs(t, ids(r.fetchAndAck(t, filled, 8)), 1, 8)
	wantIDs(t, messageIDs(r.next(t, tail, 8)), 1, 8)
	if err := r.a.Publish(r.ctx, r.messages(1, 9)); !errors.Is(err, bus.ErrFull) {
		t.Errorf("9 messages for an empty group of 8: %v, want ErrFull", err)
	}
}

func unackedTakesRoom(t *testing.T, r suite) {
	consumer := r.consumer(t, r.b, "g")
	var held []bus.Delivery
	for len(held) <= 4 {
		err := r.a.Publish(r.ctx, r.messages(1, 1))
		if errors.Is(err, bus.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r.fetch(t, consumer, 1)...)
	}
	if len(held) > 4 {
		t.Fatal("a group bound to 4 messages let 5 be fetched and not acknowledged")
	}
	r.ack(t, consumer, held[:1])
	r.depth(t, r.a, "g", bus.Depth{Unacked: len(held) - 1})
	r.publish(t, r.a, r.messages(1, 1))
}
