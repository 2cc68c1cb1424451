package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bus"
)

// refusing is a bus that refuses subscriptions until a given time.
type refusing struct {
	*bus.Local
	until time.Time
}

func (r refusing) Subscribe(ctx context.Context, topic string) (bus.Subscription, error) {
	if time.Now().Before(r.until) {
		return nil, errors.New("refused")
	}
	return r.Local.Subscribe(ctx, topic)
}

// TestFollowReportsAnOutageOnce: however long an outage lasts, the reader is notified only when it begins.
func TestFollowReportsAnOutageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal(bus.Options{})
		from := refusing{local, time.Now().Add(time.Hour)}
		ctx, cancel := context.WithCancel(t.Context())
		outages, subscribed := 0, make(chan struct{}, 1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			bus.Follow(ctx, from, "t", bus.Follower{
				Subscribed: func() { subscribed <- struct{}{} }, Lagged: func() {}, Disconnected: func(error) { outages++ }, Deliver: func([]bus.Message) {},
			})
		}()
		<-subscribed
		if err := local.Close(); err != nil { // a second outage, for two tries
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		cancel()
		<-ended
		if outages != 2 {
			t.Errorf("notified %d times, want once for each of two outages", outages)
		}
	})
}
