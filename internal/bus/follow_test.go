package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bus"
)

// refusing is a bus whose topics can be read only from some time on.
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

// TestFollowReportsAnOutageOnce: however long a topic cannot be read, its reader is notified at the change alone.
func TestFollowReportsAnOutageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal(bus.Options{})
		from := refusing{local, time.Now().Add(time.Hour)}
		ctx, cancel := context.WithCancel(t.Context())
		away, joined := 0, make(chan struct{}, 1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			bus.Follow(ctx, from, "t", bus.Follower{
				Subscribed: func() { joined <- struct{}{} }, Lagged: func() {}, Disconnected: func(error) { away++ }, Deliver: func([]bus.Message) {},
			})
		}()
		<-joined
		if err := local.Close(); err != nil { // and away again, for two tries
			t.Fatal(err)
		}
		time.Sleep(2500 * time.Millisecond)
		cancel()
		<-ended
		if away != 2 {
			t.Errorf("notified %d times, want once for each of two outages", away)
		}
	})
}
