package bustest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"orderflow/internal/bus"
)

func delivers(t *testing.T, s suite) {
	consumer := s.consumer(t, s.b, "g")
	sent := s.message("7-1")
	s.publish(t, s.a, []bus.Message{sent})
	got := s.fetch(t, consumer, 1)[0]
	if got.ID != sent.ID || got.Key != sent.Key || got.Topic != sent.Topic || got.Traceparent != sent.Traceparent ||
		!bytes.Equal(got.Body, sent.Body) {
		t.Errorf("got %+v, want %+v", got.Message, sent)
	}
	if got.Attempt != 1 {
		t.Errorf("attempt %d of a first delivery, want 1", got.Attempt)
	}
	s.ack(t, consumer, []bus.Delivery{got})
	s.publish(t, s.a, nil) // nothing, and no error
	s.depth(t, s.a, "g", bus.Depth{})
}

func bodies(t *testing.T, s suite) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	bodies := [][]byte{nil, {}, {0}, []byte("plain"), {0xff, 0xfe, 0x00, 0xc3}, every, bytes.Repeat(every, 1024)}
	var messages []bus.Message
	for i, body := range bodies {
		m := s.message(fmt.Sprint(i))
		m.Body = slices.Clone(body)
		messages = append(messages, m)
	}
	consumer, subscription := s.consumer(t, s.b, "g"), s.subscribe(t, s.b)
	s.publish(t, s.a, messages)
	check := func(m bus.Message) {
		for i, body := range bodies {
			if m.ID == fmt.Sprint(i) && !bytes.Equal(m.Body, body) {
				t.Errorf("body %d of %d bytes came as %d other ones", i, len(body), len(m.Body))
			}
		}
	}
	deliveries := s.fetchAndAck(t, consumer, len(bodies))
	wantIDs(t, ids(deliveries), 0, len(bodies)-1)
	for _, d := range deliveries {
		check(d.Message)
	}
	for _, m := range s.next(t, subscription, len(bodies)) {
		check(m)
	}
}

func slice(t *testing.T, s suite) {
	consumer, subscription := s.consumer(t, s.b, "g"), s.subscribe(t, s.b)
	messages := s.messages(1, 3)
	s.publish(t, s.a, messages)
	clear(messages)
	wantIDs(t, ids(s.fetchAndAck(t, consumer, 3)), 1, 3)
	wantIDs(t, messageIDs(s.next(t, subscription, 3)), 1, 3)
}

func limits(t *testing.T, s suite) {
	consumer := s.consumer(t, s.b, "g")
	s.publish(t, s.a, s.messages(1, 10))
	var all []bus.Delivery
	for len(all) < 10 {
		some, err := consumer.Fetch(s.ctx, 3)
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

func limitBelowOne(t *testing.T, s suite) {
	consumer := s.consumer(t, s.a, "g")
	s.publish(t, s.a, s.messages(1, 1))
	for _, limit := range []int{0, -1} {
		if got, err := consumer.Fetch(s.ctx, limit); err == nil {
			t.Errorf("Fetch(%d) returned %d messages and no error", limit, len(got))
		}
	}
	wantIDs(t, ids(s.fetchAndAck(t, consumer, 1)), 1, 1)
}

// order checks the order of messages with Features.Ordered; without it, that all arrive.
func order(t *testing.T, s suite) {
	consumer, subscription := s.consumer(t, s.b, "g"), s.subscribe(t, s.b)
	for n := 1; n <= 60; n += 3 {
		s.publish(t, s.a, s.messages(n, n+2))
	}
	fetched, read := s.fetchAndAck(t, consumer, 60), s.next(t, subscription, 60)
	wantIDs(t, ids(fetched), 1, 60)
	wantIDs(t, messageIDs(read), 1, 60)
	if !s.a.Features().Ordered {
		return
	}
	for i := range 60 {
		if want := fmt.Sprint(i + 1); fetched[i].ID != want || read[i].ID != want {
			t.Fatalf("message %d: the group got %s and the subscription %s, want %s", i, fetched[i].ID, read[i].ID, want)
		}
	}
}

func groups(t *testing.T, s suite) {
	one, two := s.consumer(t, s.a, "first"), s.consumer(t, s.b, "first")
	other := s.consumer(t, s.b, "second")
	s.publish(t, s.a, s.messages(1, 10))
	shared := append(s.fetchAndAck(t, one, 4), s.fetchAndAck(t, two, 6)...)
	wantIDs(t, ids(shared), 1, 10)
	wantIDs(t, ids(s.fetchAndAck(t, other, 10)), 1, 10)
}

func gathers(t *testing.T, s suite) {
	first := s.consumer(t, s.a, "g")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s.publish(t, s.b, s.messages(1, 5))
	wantIDs(t, ids(s.fetchAndAck(t, s.consumer(t, s.b, "g"), 5)), 1, 5)
}

func topics(t *testing.T, s suite) {
	other := s
	other.topic += "-other"
	mine, theirs := s.consumer(t, s.b, "g"), other.consumer(t, s.b, "g")
	unread := bus.Message{ID: "9", Topic: s.topic + "-unread"}
	s.publish(t, s.a, slices.Concat(s.messages(1, 3), other.messages(4, 5), []bus.Message{unread}, s.messages(6, 6)))
	got := ids(s.fetchAndAck(t, mine, 4))
	slices.Sort(got)
	if want := []string{"1", "2", "3", "6"}; !slices.Equal(got, want) {
		t.Errorf("the topic got %v, want %v", got, want)
	}
	wantIDs(t, ids(s.fetchAndAck(t, theirs, 2)), 4, 5)
	s.depth(t, s.a, "g", bus.Depth{})
	other.depth(t, s.a, "g", bus.Depth{})
}

func acknowledged(t *testing.T, s suite) {
	consumer := s.consumer(t, s.a, "g")
	s.publish(t, s.a, s.messages(1, 5))
	s.depth(t, s.b, "g", bus.Depth{Waiting: 5})
	got := s.fetch(t, consumer, 5)
	s.depth(t, s.b, "g", bus.Depth{Unacked: 5})
	s.ack(t, consumer, got[1:3])
	s.depth(t, s.b, "g", bus.Depth{Unacked: 3})
	s.ack(t, consumer, slices.Concat(got[:1], got[3:]))
	s.depth(t, s.b, "g", bus.Depth{})
	if err := consumer.Close(); err != nil {
		t.Fatal(err)
	}
	// No redelivery: the next message is the next published one.
	s.publish(t, s.a, s.messages(6, 6))
	wantIDs(t, ids(s.fetchAndAck(t, s.consumer(t, s.b, "g"), 1)), 6, 6)
}

func acknowledgedTwice(t *testing.T, s suite) {
	consumer := s.consumer(t, s.a, "g")
	s.publish(t, s.a, s.messages(1, 1))
	late := s.fetch(t, consumer, 1)
	again := s.fetch(t, consumer, 1) // after the acknowledgement time
	if again[0].ID != "1" || again[0].Attempt < 2 {
		t.Fatalf("got message %s, attempt %d, want message 1 again", again[0].ID, again[0].Attempt)
	}
	s.ack(t, consumer, late)
	s.ack(t, consumer, again)
	s.ack(t, consumer, again)
	s.ack(t, consumer, nil)
	for { // on a busy machine it may come a third time
		depth, err := s.a.Depth(s.ctx, s.topic, "g")
		if err != nil {
			t.Fatal(err)
		}
		if depth == (bus.Depth{}) {
			return
		}
		s.ack(t, consumer, s.fetch(t, consumer, 1))
	}
}

func closedConsumer(t *testing.T, s suite) {
	first, second := s.consumer(t, s.a, "g"), s.consumer(t, s.b, "g")
	s.publish(t, s.a, s.messages(1, 6))
	held := s.fetch(t, first, 4)
	s.ack(t, first, held[:1])
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	attempts := make(map[string]int)
	for len(attempts) < 5 {
		d := s.fetchAndAck(t, second, 1)[0]
		attempts[d.ID] = d.Attempt
	}
	for _, d := range held[1:] {
		if attempts[d.ID] < 2 {
			t.Errorf("message %s came again as attempt %d, want 2 or more", d.ID, attempts[d.ID])
		}
	}
	if _, again := attempts[held[0].ID]; again {
		t.Errorf("the acknowledged message %s was delivered again", held[0].ID)
	}
	s.depth(t, s.a, "g", bus.Depth{})
}

func vanishedConsumer(t *testing.T, s suite) {
	vanishes, second := s.consumer(t, s.a, "g"), s.consumer(t, s.b, "g")
	s.publish(t, s.a, s.messages(1, 3))
	s.fetch(t, vanishes, 3)
	again := make(map[string]bool)
	for len(again) < 3 { // while the consumer waits
		d := s.fetchAndAck(t, second, 1)[0]
		if d.Attempt < 2 {
			t.Errorf("message %s came again as attempt %d, want 2 or more", d.ID, d.Attempt)
		}
		again[d.ID] = true
	}
	s.depth(t, s.a, "g", bus.Depth{})
}

func deadLetters(t *testing.T, s suite) {
	s.consumer(t, s.a, "g")
	s.publish(t, s.a, []bus.Message{s.message("rejected")})
	for attempt := 1; attempt <= 3; attempt++ {
		consumer := s.consumer(t, s.b, "g")
		if got := s.fetch(t, consumer, 1)[0]; got.ID != "rejected" || got.Attempt != attempt {
			t.Fatalf("delivery %d is of message %s and says attempt %d", attempt, got.ID, got.Attempt)
		}
		if attempt == 2 { // the second consumer neither acknowledges nor closes in time
			continue
		}
		if err := consumer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.depth(t, s.a, "g", bus.Depth{DeadLettered: 1})
	s.publish(t, s.a, s.messages(1, 2)) // the group continues without it
	wantIDs(t, ids(s.fetchAndAck(t, s.consumer(t, s.b, "g"), 2)), 1, 2)
	s.depth(t, s.a, "g", bus.Depth{DeadLettered: 1})
}

func full(t *testing.T, s suite) {
	consumer := s.consumer(t, s.b, "g")
	accepted := 0
	for {
		err := s.a.Publish(s.ctx, s.messages(accepted+1, accepted+1))
		if errors.Is(err, bus.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if accepted++; accepted > 8 {
			t.Fatal("a group with a bound of 8 messages accepted 9")
		}
	}
	if accepted == 0 {
		t.Fatal("an empty group accepted no message")
	}
	wantIDs(t, ids(s.fetchAndAck(t, consumer, accepted)), 1, accepted)
	s.depth(t, s.a, "g", bus.Depth{})
	s.publish(t, s.a, s.messages(1, 1)) // it has room again
	wantIDs(t, ids(s.fetchAndAck(t, consumer, 1)), 1, 1)
}

func refusedWhole(t *testing.T, s suite) {
	if !s.a.Features().Atomic {
		t.Skip("the adapter does not have Features.Atomic")
	}
	empty, filled := s.consumer(t, s.b, "empty"), s.consumer(t, s.b, "filled")
	subscription := s.subscribe(t, s.b)
	s.publish(t, s.a, s.messages(1, 5))
	s.fetchAndAck(t, empty, 5)
	if err := s.a.Publish(s.ctx, s.messages(11, 15)); !errors.Is(err, bus.ErrFull) {
		t.Fatalf("5 messages where 3 fit: %v, want ErrFull", err)
	}
	s.publish(t, s.a, s.messages(6, 8)) // these three fit
	wantIDs(t, ids(s.fetchAndAck(t, empty, 3)), 6, 8)
	wantIDs(t, ids(s.fetchAndAck(t, filled, 8)), 1, 8)
	wantIDs(t, messageIDs(s.next(t, subscription, 8)), 1, 8)
	if err := s.a.Publish(s.ctx, s.messages(1, 9)); !errors.Is(err, bus.ErrFull) {
		t.Errorf("9 messages for an empty group of 8: %v, want ErrFull", err)
	}
}

func unackedTakesRoom(t *testing.T, s suite) {
	consumer := s.consumer(t, s.b, "g")
	var held []bus.Delivery
	for len(held) <= 4 {
		err := s.a.Publish(s.ctx, s.messages(1, 1))
		if errors.Is(err, bus.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, s.fetch(t, consumer, 1)...)
	}
	if len(held) > 4 {
		t.Fatal("a group with a bound of 4 messages had 5 unacknowledged ones")
	}
	s.ack(t, consumer, held[:1])
	s.depth(t, s.a, "g", bus.Depth{Unacked: len(held) - 1})
	s.publish(t, s.a, s.messages(1, 1))
}
