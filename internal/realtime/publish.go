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
)

// Bounds of the HTTP API, which are those of Pusher Channels.
const (
	maxData     = 10 << 10 // bytes of an event's data
	maxChannels = 100      // that one event goes to
	maxBatch    = 10       // events in one request
	maxPublish  = 256 << 10

	publishWithin = 2 * time.Second // for this node to catch up with what it has taken in
)

// publication is an event as the HTTP API takes it.
type publication struct {
	Name     string   `json:"name"`
	Data     *string  `json:"data"`
	Channel  string   `json:"channel"`
	Channels []string `json:"channels"`
	SocketID string   `json:"socket_id"`
	Info     string   `json:"info"` // about each channel, for the answer
}

// publishOne takes one event for up to a hundred channels.
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
		answer(w, http.StatusOK, []byte("{}\n"))
		return nil
	}
	return answerJSON(w, map[string]any{"channels": s.statesOf(&events[0])})
}

// publishBatch takes up to ten events.
func (s *Server) publishBatch(w http.ResponseWriter, r *http.Request) error {
	var batch struct {
		Batch []publication `json:"batch"`
	}
	if err := s.readSigned(w, r, &batch); err != nil {
		return err
	}
	if len(batch.Batch) == 0 || len(batch.Batch) > maxBatch {
		return order.Invalid("batch", fmt.Sprintf("must hold 1 to %d events", maxBatch))
	}
	if err := s.publish(r, batch.Batch); err != nil {
		return err
	}
	if !slices.ContainsFunc(batch.Batch, func(p publication) bool { return p.Info != "" }) {
		answer(w, http.StatusOK, []byte("{}\n"))
		return nil
	}
	states := make([]channelState, len(batch.Batch))
	for i := range batch.Batch {
		states[i] = s.statesOf(&batch.Batch[i])[batch.Batch[i].Channels[0]]
	}
	return answerJSON(w, map[string]any{"batch": states})
}

// readSigned reads a body whose request is signed, into a value.
func (s *Server) readSigned(w http.ResponseWriter, r *http.Request, into any) error {
	query := r.URL.Query()
	if err := s.checkSigned(r, query); err != nil {
		w.Header().Set("Connection", "close") // else net/http would read the body before it answers
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPublish))
	if err != nil {
		w.Header().Set("Connection", "close")
		return unreadable(len(body), err)
	}
	if err := checkBody(query, body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return order.Errorf(order.CodeMalformedJSON, "The body is no JSON of the form that Pusher's HTTP API has.")
	}
	return nil
}

// unreadable is the error for a body of which only some bytes could be read. A body that ends early is answered as other JSON of
// the API is.
func unreadable(read int, err error) error {
	reason := "the body broke off"
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return order.Errorf(order.CodePayloadTooLarge, "The body is larger than %d bytes.", maxPublish)
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = "the rest of the body took too long"
	}
	return order.Errorf(order.CodeMalformedJSON, "The body is not strict JSON: at byte %d, %s.", read, reason)
}

// checkSigned checks all of a signed request but its body.
func (s *Server) checkSigned(r *http.Request, query url.Values) error {
	if !s.options.App.hasID(r.PathValue("app")) {
		return order.Errorf(order.CodeNotFound, "There is no application with this id.")
	}
	return s.options.App.checkRequest(r.Method, r.URL.Path, query, time.Now())
}

// publish hands events to the bus, which brings them to every node, this one too.
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
			weight += s.hub.listeners(channel)
		}
		weight = max(weight, gateLeast)
		deliveries += weight
		body, err := json.Marshal(pushed{p.Channels, p.Name, *p.Data, p.SocketID, now, s.node, weight})
		if err != nil {
			return err
		}
		messages[i] = bus.Message{ID: rand.Text(), Key: p.Channels[0], Topic: bus.TopicChannelEvents, Body: body}
	}
	// A caller that has only closed its sending side waits for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), publishWithin)
	defer cancel()
	if !s.gate.enter(ctx, deliveries) {
		return order.Errorf(order.CodeOverloaded, "More is published than can be sent. Try again shortly.")
	}
	if err := s.options.Bus.Publish(ctx, messages); err != nil {
		s.gate.passed(deliveries)
		return &order.Error{Code: order.CodeUnavailable, Message: "The event could not be published. Try again shortly.", Cause: err}
	}
	s.hub.metrics.published.Add(float64(len(messages)))
	return nil
}

// check says what is wrong with an event.
func (p *publication) check() error {
	switch {
	case strings.HasPrefix(p.Name, "pusher:") || strings.HasPrefix(p.Name, "pusher_internal:"):
		return order.Invalid("name", "must not begin as the protocol's own events do")
	case p.SocketID != "" && !socketID(p.SocketID):
		return order.Invalid("socket_id", "must be a connection's, such as 123.456")
	case p.Name == "" || len(p.Name) > maxEventName:
		return order.Invalid("name", fmt.Sprintf("must have 1 to %d bytes", maxEventName))
	case len(p.Channels) == 0 || len(p.Channels) > maxChannels:
		return order.Invalid("channels", fmt.Sprintf("must be 1 to %d", maxChannels))
	case p.Data == nil:
		return order.Invalid("data", "must be a string")
	case len(*p.Data) > maxData:
		return order.Errorf(order.CodePayloadTooLarge, "The data of an event may have %d bytes.", maxData)
	}
	if _, err := parseInfo(p.Info); err != nil {
		return err
	}
	for _, channel := range p.Channels {
		if !validChannel(channel) {
			return order.Invalid("channels", "must be names of up to 164 letters, digits and _-=@,.;")
		}
		if isPresence(channel) {
			return order.Invalid("channels", "must be no presence channels, which are not supported")
		}
	}
	return nil
}

// socketID reports whether a text may be the id of a connection.
func socketID(text string) bool {
	first, second, found := strings.Cut(text, ".")
	digits := func(part string) bool {
		return part != "" && len(part) <= 20 && strings.Trim(part, "0123456789") == ""
	}
	return found && digits(first) && digits(second)
}

// unique is a few names without those that stand there twice, in their order.
func unique(names []string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}
