package api

import (
	"cmp"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

const (
	// keepAlive is the interval between comments in a stream, which keep proxies from closing the connection.
	keepAlive = 15 * time.Second
	// rereadEvery is how many keep-alives pass until a stream that was not woken reads the table: the bus may lose a change.
	rereadEvery = 4
)

// orderEvents answers with an order's history as JSON, or with a stream of server-sent events until the order is finished.
func (a *API) orderEvents(rc *requestContext) error {
	id, err := pathID(rc.r, "order")
	if err != nil {
		return err
	}
	rc.Header().Add("Vary", "Accept")
	if wantsStream(rc.r.Header["Accept"]) {
		return a.streamEvents(rc, id)
	}
	events, err := a.visibleEvents(rc, id)
	if err != nil {
		return err
	}
	rc.out = append(rc.out[:0], `{"data":[`...)
	for i := range events {
		if i > 0 {
			rc.out = append(rc.out, ',')
		}
		rc.out = appendEvent(rc.out, &events[i])
	}
	rc.out = append(rc.out, ']', '}', '\n')
	return rc.jsonLarge(rc.out)
}

// visibleEvents returns an order's history, or CodeNotFound when the order does not exist or the caller may not see it.
func (a *API) visibleEvents(rc *requestContext, id int64) ([]order.Event, error) {
	events, err := a.options.Reader.Events(rc.r.Context(), id, 0)
	if err == nil && len(events) > 0 { // each event has the user of its order
		err = rc.checkVisible(id, events[0].UserID)
	}
	return events, err
}

// streamEvents sends the history after the client's Last-Event-ID, then each new event until the order is finished.
func (a *API) streamEvents(rc *requestContext, id int64) error {
	registered := a.waker.register(id) // before the first read of the table: see the package comment
	if registered == nil {
		return order.Errorf(order.CodeOverloaded, "Too many event streams are open. Try again shortly, or request the history as JSON.")
	}
	defer a.waker.unregister(registered)

	history, err := a.visibleEvents(rc, id)
	if err != nil {
		return err
	}
	after := lastReceived(rc.r.Header.Get("Last-Event-ID"), id, history)
	if after == len(history) && order.LastStatus(history).Terminal() {
		rc.WriteHeader(http.StatusNoContent) // so that an EventSource does not reconnect
		return nil
	}
	s := &sender{rc: rc, control: http.NewResponseController(rc.w)}
	s.begin()
	if rc.r.Method != http.MethodHead {
		a.follow(rc, s, registered, history, after)
	}
	return nil
}

// follow sends the events after the given sequence, then each new one. It ends when the last event with a status is terminal, the
// client disconnects, the server drains or the client's token becomes invalid, which is checked before each read of the table.
func (a *API) follow(rc *requestContext, s *sender, registered *stream, history []order.Event, after int) {
	events, status := history[after:], order.LastStatus(history)
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	failed := false // the last read of the table
	for ticks, comment := 0, false; ; {
		s.send(events, comment)
		if status.Terminal() || s.err != nil {
			return // a client that disconnected or reads too slowly can reconnect and continue
		}
		if len(events) > 0 {
			after = events[len(events)-1].Seq
		}
		select {
		case <-registered.wake:
			comment = false
		case <-ticker.C:
			comment = true
			ticks++
		case <-a.waker.ended:
			return
		case <-rc.r.Context().Done():
			return
		}
		err := a.checkAgain(rc)
		if order.CodeOf(err) == order.CodeUnauthenticated {
			return
		}
		events = nil
		if err != nil {
			failed = true
			continue
		}
		if comment && !failed && !a.disconnected() && ticks%rereadEvery != 0 {
			continue
		}
		events, err = a.options.Reader.Events(rc.r.Context(), registered.orderID, after)
		status = cmp.Or(order.LastStatus(events), status)
		failed = err != nil // the next signal or keep-alive reads again
	}
}

// disconnected reports whether the bus cannot wake streams, so that they read the table at each keep-alive.
func (a *API) disconnected() bool {
	return !a.waker.connected.Load() || a.options.RedisState() == StateDisconnected
}

// lastReceived returns the sequence of the last event that the client has, by its Last-Event-ID: an event id ("42-2") or a bare
// sequence ("2"). Any other value, or an event that does not exist, counts as none: a browser cannot handle an error, and can
// receive events again.
func lastReceived(header string, id int64, events []order.Event) int {
	if own, ok := strings.CutPrefix(header, strconv.FormatInt(id, 10)+"-"); ok {
		header = own
	}
	seq, ok := parseID(header)
	if !ok || seq > int64(len(events)) {
		return 0
	}
	return int(seq)
}

// wantsStream reports whether a caller prefers server-sent events to JSON: by the higher quality, or by the first entry among equals.
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
