package api

import (
	"cmp"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

const eventStream = "text/event-stream" // the media type of server-sent events

// Times of an event stream.
const (
	keepAlive    = 15 * time.Second // between comments that keep proxies from closing the connection
	retryAdvised = "retry: 1000\n"  // milliseconds until a client whose stream ended comes back
)

// orderEvents answers with an order's history: as JSON, or as a stream of server-sent events that goes on until the
// order is finished.
func (a *API) orderEvents(x *requestContext) error {
	id, err := pathID(x.r)
	if err != nil {
		return err
	}
	x.Header().Add("Vary", "Accept")
	if wantsStream(x.r.Header["Accept"]) {
		return a.streamEvents(x, id)
	}
	events, err := a.ownEvents(x, id)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"data":[`...)
	for i := range events {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = appendEvent(x.out, &events[i])
	}
	x.out = append(x.out, ']', '}', '\n')
	return x.jsonMade(x.out)
}

// ownEvents returns an order's history, or CodeNotFound when it is none that the caller may see.
func (a *API) ownEvents(x *requestContext, id int64) ([]order.Event, error) {
	events, err := a.options.Reader.Events(x.r.Context(), id, 0)
	if err == nil && len(events) > 0 { // each says whose order it is
		err = x.own(id, events[0].UserID)
	}
	return events, err
}

// streamEvents sends the history from the client's Last-Event-ID on, then each new event, and ends after the last one.
func (a *API) streamEvents(x *requestContext, id int64) error {
	place := a.waker.enter(id) // before the first look: see the package comment
	if place == nil {
		return order.Errorf(order.CodeOverloaded, "Too many event streams are open. Try again shortly, or ask for the history as JSON.")
	}
	defer a.waker.leave(place)

	history, err := a.ownEvents(x, id)
	if err != nil {
		return err
	}
	after := lastSeen(x.r.Header.Get("Last-Event-ID"), id, history)
	if after == len(history) && order.LastStatus(history).Terminal() {
		x.WriteHeader(http.StatusNoContent) // so that an EventSource does not reconnect
		return nil
	}
	s := &sender{x: x, control: http.NewResponseController(x.w)}
	s.begin()
	if x.r.Method != http.MethodHead {
		a.follow(x, s, place, history, after)
	}
	return nil
}

// follow sends the events after the given sequence, then each new one. It ends when the last event with a status is terminal,
// the client disconnects, the server drains or the client's token expires, which it checks before each read of the table.
func (a *API) follow(x *requestContext, s *sender, place *stream, history []order.Event, after int) {
	events, status := history[after:], order.LastStatus(history)
	pulse := time.NewTicker(keepAlive)
	defer pulse.Stop()
	failed := false // the last look at the table
	for pulses, comment := 0, false; ; {
		s.send(events, comment)
		if status.Terminal() || s.err != nil {
			return // a client that left or reads too slowly can come back and go on where it was
		}
		if len(events) > 0 {
			after = events[len(events)-1].Seq
		}
		select {
		case <-place.wake:
			comment = false
		case <-pulse.C:
			comment = true
			pulses++
		case <-a.waker.ended:
			return
		case <-x.r.Context().Done():
			return
		}
		err := a.checkAgain(x)
		if order.CodeOf(err) == order.CodeUnauthenticated {
			return
		}
		events = nil
		if err != nil {
			failed = true
			continue
		}
		if comment && !failed && !a.deaf() && pulses%netEvery != 0 {
			continue // nothing has been said, or it would have been heard
		}
		events, err = a.options.Reader.Events(x.r.Context(), place.orderID, after)
		status = cmp.Or(order.LastStatus(events), status)
		failed = err != nil // the database is away: look again with the next token or pulse
	}
}

// netEvery is how many pulses pass between two looks of a stream that nothing has woken: a net under the bus, whose news are
// not promised to arrive.
const netEvery = 4

// deaf reports whether streams cannot count on being woken, and look for themselves at each pulse.
func (a *API) deaf() bool {
	return !a.waker.hears.Load() || a.options.RedisState() == StateDisconnected
}

// sender writes server-sent events.
type sender struct {
	x       *requestContext
	control *http.ResponseController
	err     error // the first one; nothing is sent after it
}

// begin sends the headers.
func (s *sender) begin() {
	h := s.x.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Accel-Buffering", "no") // nginx: hand on what comes at once
	h.Set("Connection", "close")     // the deadlines of its writes must not outlive the stream
	s.x.WriteHeader(http.StatusOK)
	s.write([]byte(retryAdvised + "\n"))
}

// send writes events, or a comment when there are none and one is due.
func (s *sender) send(events []order.Event, comment bool) {
	out := s.x.out[:0]
	for i := range events {
		out = append(out, "id: "...)
		out = append(out, events[i].ID()...)
		out = append(out, "\nevent: "...)
		out = append(out, events[i].Type...)
		out = append(out, "\ndata: "...)
		out = appendEvent(out, &events[i]) // has no line breaks: JSON strings escape them
		out = append(out, '\n', '\n')
	}
	if len(events) == 0 && comment {
		out = append(out, ":\n\n"...)
	}
	s.x.out = out
	s.write(out)
}

// write sends bytes on their way, within the time that a client has to take them: that is instead of the server's limit
// on a whole answer.
func (s *sender) write(p []byte) {
	if s.err != nil || len(p) == 0 {
		return
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(web.AnswerWrite)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		s.err = err
		return
	}
	if _, s.err = s.x.w.Write(p); s.err == nil {
		s.err = s.control.Flush()
	}
}

// lastSeen returns the sequence of the last event that the client has, by its Last-Event-ID: an event id ("42-2") or a
// bare sequence ("2"). Anything else, or an event that does not exist, means that it has none: a browser could do
// nothing about an error, and to be told again is harmless.
func lastSeen(header string, id int64, events []order.Event) int {
	if own, ok := strings.CutPrefix(header, strconv.FormatInt(id, 10)+"-"); ok {
		header = own
	}
	seq, ok := parseID(header)
	if !ok || seq > int64(len(events)) {
		return 0
	}
	return int(seq)
}

// wantsStream reports whether a caller would rather have server-sent events than JSON: the higher quality wins, and
// what stands first where they are equal.
func wantsStream(accept []string) bool {
	best, stream := 0.0, false
	for field := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, err := mime.ParseMediaType(field)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, given := parameters["q"]; given {
			if quality, err = strconv.ParseFloat(q, 64); err != nil {
				continue
			}
		}
		if quality > best {
			best, stream = quality, kind == eventStream
		}
	}
	return stream
}
