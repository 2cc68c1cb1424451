package realtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
)

// Limits of the HTTP API, as Pusher Channels has them.
const (
	maxData     = 10 << 10 // bytes of an event's data
	maxChannels = 100      // of one event
	maxBatch    = 10       // events in one request
	maxBody     = 256 << 10

	publishTimeout = 2 * time.Second // for the gate and the bus
)

// publication is an event in the HTTP API.
type publication struct {
	Name     string   `json:"name"`
	Data     *string  `json:"data"`
	Channel  string   `json:"channel"`
	Channels []string `json:"channels"`
	SocketID string   `json:"socket_id"`
	Info     string   `json:"info"` // attributes of the channels for the response
}

// publishOne publishes one event to up to a hundred channels.
func (s *Server) publishOne(w http.ResponseWriter, r *http.Request) error {
	var p publication
	if err := s.readSigned(w, r, &p); err != nil {
		return err
	}
	events := []publication{p}
	if err := s.publish(r, events); err != nil {
		return err
	}
	if p.Info == "" {
		writeJSON(w, http.StatusOK, []byte("{}\n"))
		return nil
	}
	return writeValue(w, map[string]any{"channels": s.channelStates(&events[0])})
}

// publishBatch publishes up to ten events.
func (s *Server) publishBatch(w http.ResponseWriter, r *http.Request) error {
	var batch struct {
		Batch []publication `json:"batch"`
	}
	if err := s.readSigned(w, r, &batch); err != nil {
		return err
	}
	if len(batch.Batch) == 0 || len(batch.Batch) > maxBatch {
		return order.Invalid("batch", fmt.Sprintf("must have 1 to %d events", maxBatch))
	}
	if err := s.publish(r, batch.Batch); err != nil {
		return err
	}
	if !slices.ContainsFunc(batch.Batch, func(p publication) bool { return p.Info != "" }) {
		writeJSON(w, http.StatusOK, []byte("{}\n"))
		return nil
	}
	states := make([]channelState, len(batch.Batch))
	for i := range batch.Batch {
		states[i] = s.channelStates(&batch.Batch[i])[batch.Batch[i].Channels[0]]
	}
	return writeValue(w, map[string]any{"batch": states})
}

// readSigned checks a signed request and decodes its body.
func (s *Server) readSigned(w http.ResponseWriter, r *http.Request, into any) error {
	query := r.URL.Query()
	if err := s.checkSigned(r, query); err != nil {
		w.Header().Set("Connection", "close") // else net/http would read the body before the response
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		w.Header().Set("Connection", "close")
		return unreadable(len(body), err)
	}
	if err := pusher.CheckBody(query, body); err != nil {
		return notSigned(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return order.Errorf(order.CodeMalformedJSON, "The body is not JSON in the form of Pusher's HTTP API.")
	}
	return nil
}

// unreadable returns the error for a body of which only some bytes could be read.
func unreadable(read int, err error) error {
	reason := "the body ended early"
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return order.Errorf(order.CodePayloadTooLarge, "The body is larger than %d bytes.", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = "the rest of the body took too long"
	}
	return order.Errorf(order.CodeMalformedJSON, "The body is not strict JSON: at byte %d, %s.", read, reason)
}

// checkSigned checks a signed request, except its body.
func (s *Server) checkSigned(r *http.Request, query url.Values) error {
	if !s.options.App.HasID(r.PathValue("app")) {
		return order.Errorf(order.CodeNotFound, "Unknown application id.")
	}
	if err := s.options.App.CheckRequest(r.Method, r.URL.Path, query, time.Now()); err != nil {
		return notSigned(err)
	}
	return nil
}

// notSigned returns the error for an invalid signature.
func notSigned(reason error) error {
	return order.Errorf(order.CodeUnauthenticated, "Invalid signature: %v.", reason)
}

// publish publishes events on the bus, which delivers them to every node, this one included.
func (s *Server) publish(r *http.Request, events []publication) error {
	messages, deliveries := make([]bus.Message, len(events)), 0
	now := time.Now().UnixMicro()
	for i := range events {
		p := &events[i]
		if p.Channel != "" {
			p.Channels = append(p.Channels, p.Channel)
		}
		if len(p.Channels) <= maxChannels {
			p.Channels = unique(p.Channels)
		}
		if err := p.check(); err != nil {
			return err
		}
		weight := 0
		for _, channel := range p.Channels {
			weight += s.hub.subscribers(channel)
		}
		weight = max(weight, minWeight)
		deliveries += weight
		body, err := json.Marshal(channelEvent{p.Channels, p.Name, *p.Data, p.SocketID, now, s.node, weight})
		if err != nil {
			return err
		}
		messages[i] = bus.Message{ID: rand.Text(), Key: p.Channels[0], Topic: bus.TopicChannelEvents, Body: body}
	}
	// A caller that has closed its sending side still waits for the response.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), publishTimeout)
	defer cancel()
	if !s.gate.enter(ctx, deliveries) {
		return order.Errorf(order.CodeOverloaded, "Too many events are waiting to be sent. Try again shortly.")
	}
	if err := s.options.Bus.Publish(ctx, messages); err != nil {
		s.gate.done(deliveries)
		return &order.Error{Code: order.CodeUnavailable, Message: "The event could not be published. Try again shortly.", Cause: err}
	}
	s.hub.metrics.published.Add(float64(len(messages)))
	return nil
}

// check returns the validation error of an event.
func (p *publication) check() error {
	switch {
	case strings.HasPrefix(p.Name, "pusher:") || strings.HasPrefix(p.Name, "pusher_internal:"):
		return order.Invalid("name", "must not begin with pusher: or pusher_internal:")
	case p.SocketID != "" && !pusher.ValidSocketID(p.SocketID):
		return order.Invalid("socket_id", "must be the socket id of a connection, such as 123.456")
	case p.Name == "" || len(p.Name) > pusher.MaxEventName:
		return order.Invalid("name", fmt.Sprintf("must have 1 to %d bytes", pusher.MaxEventName))
	case len(p.Channels) == 0 || len(p.Channels) > maxChannels:
		return order.Invalid("channels", fmt.Sprintf("must have 1 to %d names", maxChannels))
	case p.Data == nil:
		return order.Invalid("data", "must be a string")
	case len(*p.Data) > maxData:
		return order.Errorf(order.CodePayloadTooLarge, "The data of the event is larger than %d bytes.", maxData)
	}
	if _, err := parseInfo(p.Info); err != nil {
		return err
	}
	for _, channel := range p.Channels {
		if !pusher.ValidChannel(channel) {
			return order.Invalid("channels", "must be names of 1 to 164 letters, digits and _-=@,.;")
		}
		if pusher.IsPresence(channel) {
			return order.Invalid("channels", "must not be presence channels: these are not supported")
		}
	}
	return nil
}

// unique returns the names without duplicates, in their order.
func unique(names []string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}
