package realtime

import (
	"bytes"
	"context"
	"time"

	"github.com/go-json-experiment/json"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/tracing"
)

// subscribe passes all messages of a topic to deliver until ctx ends. lost is called when messages were lost, or may have been.
func (s *Server) subscribe(ctx context.Context, topic string, deliver func([]bus.Message), lost func()) {
	bus.Follow(ctx, s.options.Bus, topic, bus.Follower{
		Subscribed: lost,
		Lagged: func() {
			s.hub.metrics.lost.Inc()
			lost()
		},
		Disconnected: func(err error) { s.logDisconnected(ctx, topic, err) },
		Deliver:      deliver,
	})
}

// logDisconnected logs that a topic cannot be read.
func (s *Server) logDisconnected(ctx context.Context, topic string, err error) {
	s.options.Logger.WarnContext(ctx, "The bus cannot be read; subscribers receive no events.",
		"event", "realtime.disconnected", "topic", topic, "error", err)
}

// logMalformed logs a message of the bus that cannot be parsed.
func (s *Server) logMalformed(m *bus.Message, err error) {
	s.options.Logger.Warn("A message of the bus is not an event.", "event", "realtime.malformed_message", "id", m.ID, "error", err)
}

// skippedType is part of every OrderProcessing event, half of all changes. These only wake event streams, so they are skipped without
// being parsed. No other event contains the text: quotes within a string are escaped.
const skippedType = `"type":"` + string(order.OrderProcessing) + `"`

// sendChanges sends customers the final statuses of their orders.
func (s *Server) sendChanges(messages []bus.Message) {
	s.feed.add(messages)
	for i := range messages {
		if bytes.Contains(messages[i].Body, []byte(skippedType)) {
			continue
		}
		event, err := order.ParseEvent(messages[i].Body)
		if err != nil {
			s.logMalformed(&messages[i], err)
			continue
		}
		switch event.Type { //nolint:exhaustive // customers do not receive the others
		case order.OrderPaid, order.OrderFailed, order.OrderCancelled:
			s.sendOrderEvent(&event)
		}
	}
}

// sendOrderEvent sends an event on both channels of its user.
func (s *Server) sendOrderEvent(e *order.Event) {
	span := s.options.Tracer.ChildOf(e.Trace.Parent, "broadcast", tracing.Consumer)
	defer span.End(nil)
	data := string(appendOrderEvent(make([]byte, 0, 256), e))
	if ch := s.hub.find(pusher.OrdersChannel(e.UserID)); ch != nil {
		s.hub.broadcast(ch, message(string(e.Type), ch.name, data), "")
	}
	s.send(pusher.CacheOrdersChannel(e.UserID), string(e.Type), data, e.At, "")
}

// send sends an event to all subscribers of a channel, except the connection with the socket id except. On a cache channel the event
// becomes the last one.
func (s *Server) send(channel, event, data string, at time.Time, except string) {
	ch := s.hub.find(channel)
	if ch == nil && !pusher.IsCache(channel) {
		return
	}
	frame := message(event, channel, data)
	if pusher.IsCache(channel) {
		s.hub.lastEvents.put(channel, frame, at) // before it is sent: a client that subscribes in between gets a duplicate, not a gap
		ch = s.hub.find(channel)
	}
	if ch != nil {
		s.hub.broadcast(ch, frame, except)
	}
}

// channelEvent is an event of the HTTP API as a message of the bus.
type channelEvent struct {
	Channels []string `json:"channels"`
	Event    string   `json:"event"`
	Data     string   `json:"data"`
	Except   string   `json:"except,omitempty"` // socket id of the connection that does not receive it
	At       int64    `json:"at"`               // microseconds since 1970
	Node     string   `json:"node"`             // that accepted it
	Weight   int      `json:"weight"`           // at that node's gate
}

// sendChannelEvents sends events that other programs have published.
func (s *Server) sendChannelEvents(messages []bus.Message) {
	own := 0
	for i := range messages {
		var e channelEvent
		if err := json.Unmarshal(messages[i].Body, &e); err != nil {
			s.logMalformed(&messages[i], err)
			continue
		}
		for _, channel := range e.Channels {
			s.send(channel, e.Event, e.Data, time.UnixMicro(e.At), e.Except)
		}
		if e.Node == s.node {
			own += e.Weight
		}
	}
	s.gate.done(own)
}
