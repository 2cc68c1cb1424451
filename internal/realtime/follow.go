package realtime

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// follow hands all that is published to a topic to deliver, until ctx ends. lost is called when messages were lost, or may
// have been.
func (s *Server) follow(ctx context.Context, topic string, deliver func([]bus.Message), lost func()) {
	bus.Follow(ctx, s.options.Bus, topic, bus.Follower{
		Subscribed: lost,
		Lagged: func() {
			s.hub.metrics.lost.Inc()
			lost()
		},
		Disconnected: func(err error) { s.deaf(ctx, topic, err) },
		Deliver:      deliver,
	})
}

// deaf logs that a topic cannot be read.
func (s *Server) deaf(ctx context.Context, topic string, err error) {
	s.options.Logger.WarnContext(ctx, "subscribers hear nothing: the bus cannot be read",
		"event", "realtime.deaf", "topic", topic, "error", err)
}

// untold is in the body of every event that wakes streams and is not told here: half of all news, which need not be parsed
// for that. In no other can it be, since quotes within a text are escaped.
const untold = `"type":"` + string(order.OrderProcessing) + `"`

// tellNews tells customers what became of their orders.
func (s *Server) tellNews(messages []bus.Message) {
	s.feed.take(messages)
	for i := range messages {
		if bytes.Contains(messages[i].Body, []byte(untold)) {
			continue
		}
		event, err := order.ParseEvent(messages[i].Body)
		if err != nil {
			s.options.Logger.Warn("a message of the bus is no event", "event", "realtime.garbage", "id", messages[i].ID, "error", err)
			continue
		}
		switch event.Type { //nolint:exhaustive // the others are not told
		case order.OrderPaid, order.OrderFailed, order.OrderCancelled:
			s.tellEvent(&event)
		}
	}
}

// tellEvent tells one customer of one event, on both of the customer's channels.
func (s *Server) tellEvent(e *order.Event) {
	span := s.options.Tracer.ChildOf(e.Trace.Parent, "broadcast", tracing.Consumer)
	defer span.End(nil)
	data := string(appendNews(make([]byte, 0, 256), e))
	user := strconv.FormatInt(e.UserID, 10)
	if ch := s.hub.find(ordersPrefix + user); ch != nil {
		s.hub.broadcast(ch, message(string(e.Type), ch.name, data), "")
	}
	s.say(cacheOrdersPrefix+user, string(e.Type), data, e.At, "")
}

// say sends an event to all who listen to a channel, and keeps it when the channel is a cache channel.
func (s *Server) say(channel, event, data string, at time.Time, except string) {
	ch := s.hub.find(channel)
	if ch == nil && !isCache(channel) {
		return
	}
	frame := message(event, channel, data)
	if isCache(channel) {
		s.hub.lasts.put(channel, frame, at) // before it is sent: who subscribes in between hears it twice rather than never
		ch = s.hub.find(channel)
	}
	if ch != nil {
		s.hub.broadcast(ch, frame, except)
	}
}

// pushed is an event that came in by the HTTP API, as it travels on the bus.
type pushed struct {
	Channels []string `json:"channels"`
	Event    string   `json:"event"`
	Data     string   `json:"data"`
	Except   string   `json:"except,omitempty"` // socket id of a connection that is not told
	At       int64    `json:"at"`               // microseconds since 1970
	Node     string   `json:"node"`             // that took it in
	Weight   int      `json:"weight"`           // what it counts for at that node's gate
}

// tellPushed sends what other programs have published.
func (s *Server) tellPushed(messages []bus.Message) {
	own := 0
	for i := range messages {
		var p pushed
		if err := json.Unmarshal(messages[i].Body, &p); err != nil {
			s.options.Logger.Warn("a message of the bus is no event", "event", "realtime.garbage", "id", messages[i].ID, "error", err)
			continue
		}
		for _, channel := range p.Channels {
			s.say(channel, p.Event, p.Data, time.UnixMicro(p.At), p.Except)
		}
		if p.Node == s.node {
			own += p.Weight
		}
	}
	s.gate.passed(own)
}
