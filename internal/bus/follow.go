package bus

import (
	"context"
	"errors"
	"time"
)

// resubscribePause is the pause before Follow subscribes again after a failure.
const resubscribePause = time.Second

// Follower has the functions that Follow calls, never concurrently. All of them must be set.
type Follower struct {
	Subscribed   func()          // subscribed; earlier messages may have been missed
	Lagged       func()          // messages were lost (ErrLagged)
	Disconnected func(err error) // not subscribed until Subscribed is called; called once per outage, while Follow retries every second
	Deliver      func(messages []Message)
}

// Follow receives the messages of a topic until ctx ends. It subscribes again after every failure.
func Follow(ctx context.Context, from Bus, topic string, to Follower) {
	away := false
	joined := to.Subscribed
	to.Subscribed = func() {
		away = false
		joined()
	}
	for ctx.Err() == nil {
		err := follow(ctx, from, topic, to)
		if ctx.Err() != nil {
			return
		}
		if !away {
			to.Disconnected(err)
		}
		away = true
		pause := time.NewTimer(resubscribePause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// follow reads one subscription until it fails.
func follow(ctx context.Context, from Bus, topic string, to Follower) error {
	subscription, err := from.Subscribe(ctx, topic)
	if err != nil {
		return err
	}
	defer func() { _ = subscription.Close() }() // it is not used again, even if Close fails
	to.Subscribed()
	for {
		messages, err := subscription.Next(ctx)
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
