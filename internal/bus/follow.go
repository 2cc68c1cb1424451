package bus

import (
	"context"
	"errors"
	"time"
)

// rejoinPause is the wait before a topic is read again that could not be read.
const rejoinPause = time.Second

// Follower is what Follow calls, one after the other, from its own goroutine. All of them must be set.
type Follower struct {
	Joined  func()          // the topic is read from now on; what was published before may have been missed
	Lagged  func()          // messages were lost (ErrLagged)
	Away    func(err error) // the topic is not read, until Joined: it is tried again each second; called once for all tries
	Deliver func(messages []Message)
}

// Follow reads a topic through tails of the bus, one after the other, until ctx ends.
func Follow(ctx context.Context, from Bus, topic string, to Follower) {
	away := false
	joined := to.Joined
	to.Joined = func() {
		away = false
		joined()
	}
	for ctx.Err() == nil {
		err := follow(ctx, from, topic, to)
		if ctx.Err() != nil {
			return
		}
		if !away {
			to.Away(err)
		}
		away = true
		pause := time.NewTimer(rejoinPause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// follow reads one tail until it fails.
func follow(ctx context.Context, from Bus, topic string, to Follower) error {
	tail, err := from.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	defer func() { _ = tail.Close() }() // it is left behind, whatever that says
	to.Joined()
	for {
		messages, err := tail.Next(ctx)
		switch {
		case errors.Is(err, ErrLagged):
			to.Lagged()
		case err != nil:
			return err
		default:
			to.Deliver(messages)
		}
	}
}
