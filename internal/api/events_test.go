package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/web"
	"orderflow/test/env"
)

// event is one server-sent event.
type event struct{ id, kind, data string }

// eventReader reads a stream by the rules of EventSource.
type eventReader struct {
	lines    *bufio.Scanner
	comments int
}

func readEvents(r io.Reader) *eventReader { return &eventReader{lines: bufio.NewScanner(r)} }

// next returns the next event; ok is false at the end of the stream.
func (r *eventReader) next() (e event, ok bool) {
	for r.lines.Scan() {
		line := r.lines.Text()
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && e.data != "":
			return e, true
		case line == "":
			e = event{}
		case field == "":
			r.comments++
		case field == "id":
			e.id = value
		case field == "event":
			e.kind = value
		case field == "data":
			e.data = value
		}
	}
	return event{}, false
}

// all returns the rest of the events, as "id kind".
func (r *eventReader) all() []string {
	var events []string
	for {
		e, ok := r.next()
		if !ok {
			return events
		}
		events = append(events, e.id+" "+e.kind)
	}
}

// serve starts a real HTTP server for the API.
func serve(t *testing.T, n *server) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = web.NewServer(n.Handler(), web.Limits{})
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// streamed is the answer to a request for an event stream, whose body is still to be read.
type streamed struct {
	status int
	header http.Header
	body   io.Reader
}

// follow opens an event stream.
func follow(t *testing.T, server *httptest.Server, id int64, lastEventID string) streamed {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/api/v1/orders/%d/events", server.URL, id), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		r.Header.Set("Last-Event-ID", lastEventID)
	}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return streamed{response.StatusCode, response.Header, response.Body}
}

// openStreams returns the metric of open streams.
func openStreams(t *testing.T, n *server) int {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "orderflow_http_streams" {
			return int(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	t.Fatal("the metric orderflow_http_streams does not exist")
	return 0
}

func TestStreamFollowsAnOrder(t *testing.T) {
	n := open(t)
	n.run(t)
	server := serve(t, n)
	id := n.place(t, "a", 2, 1)
	response := follow(t, server, id, "")
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff",
	} {
		if got := response.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	stream := readEvents(response.body)
	expect := func(id, kind string) {
		t.Helper()
		e, ok := stream.next()
		if !ok || e.id != id || e.kind != kind || !strings.HasPrefix(e.data, `{"event_id":"`+id+`","sequence":`) || !strings.Contains(e.data, `"type":"`+kind+`"`) {
			t.Fatalf("got %+v (%t), want %s %s", e, ok, id, kind)
		}
	}
	expect("1-1", "OrderCreated")
	n.intake.claim(t, id)
	expect("1-2", "OrderProcessing")
	n.intake.settle(t, id, order.Declined)
	expect("1-3", "OrderFailed")
	if e, ok := stream.next(); ok {
		t.Errorf("after the last event came %+v", e)
	}
}

// A client that reconnects gets the events that it missed. A client that has all events gets 204.
func TestStreamResumes(t *testing.T) {
	n := open(t)
	server := serve(t, n)
	id := n.place(t, "a", 2, 1)
	other := n.place(t, "b", 2, 1)
	n.intake.settle(t, id, order.Succeeded)
	n.intake.settle(t, other, order.Succeeded)
	history := []string{"1-1 OrderCreated", "1-2 OrderProcessing", "1-3 OrderPaid"}
	for last, want := range map[string][]string{
		"": history, "1-1": history[1:], "1": history[1:], "1-2": history[2:], "2": history[2:],
		"0": history, "4": history, "1-4": history, "2-2": history, "1-": history, "x": history, "-1": history, "1-2-3": history,
		"99999999999999999999": history, "+1": history,
	} {
		response := follow(t, server, id, last)
		if got := readEvents(response.body).all(); response.status != http.StatusOK || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Last-Event-ID %q: status %d, events %v, want %v", last, response.status, got, want)
		}
	}
	for _, last := range []string{"1-3", "3"} {
		response := follow(t, server, id, last)
		body, err := io.ReadAll(response.body)
		if response.status != http.StatusNoContent || len(body) > 0 || err != nil {
			t.Errorf("Last-Event-ID %q: status %d, body %q, error %v; want 204", last, response.status, body, err)
		}
	}
}

// annotated is a store whose orders have events without a status: after their creation and after their end.
type annotated struct{ *store.Store }

func (a annotated) Events(ctx context.Context, id int64, after int) ([]order.Event, error) {
	events, err := a.Store.Events(ctx, id, 0)
	var all []order.Event
	for _, e := range events {
		e.Seq = len(all) + 1
		all = append(all, e)
		if e.Type == order.OrderCreated || e.Type.Status().Terminal() {
			e.Seq, e.Type = len(all)+1, "OrderUpdated"
			all = append(all, e)
		}
	}
	return all[min(after, len(all)):], err
}

// A stream ends with the last event that has a status. A client that reconnects still receives what follows it.
func TestStreamOfEventsWithoutStatus(t *testing.T) {
	n := open(t, func(o *api.Options) { o.Reader = annotated{o.Reader.(*store.Store)} })
	n.run(t)
	server := serve(t, n)
	id := n.place(t, "a", 2, 1)
	stream := readEvents(follow(t, server, id, "").body)
	for _, want := range []string{"1-1", "1-2"} {
		if e, ok := stream.next(); !ok || e.id != want {
			t.Fatalf("event %+v (%t), want %s", e, ok, want)
		}
	}
	n.intake.settle(t, id, order.Succeeded)
	if got, want := fmt.Sprint(stream.all()), "[1-3 OrderProcessing 1-4 OrderPaid 1-5 OrderUpdated]"; got != want {
		t.Errorf("then came %s, want %s", got, want)
	}
	again := readEvents(follow(t, server, id, "1-4").body)
	if got, want := fmt.Sprint(again.all()), "[1-5 OrderUpdated]"; got != want {
		t.Errorf("after the end came %s, want %s", got, want)
	}
	if last := follow(t, server, id, "1-5"); last.status != http.StatusNoContent {
		t.Errorf("status %d with nothing left to send, want 204", last.status)
	}
}

// A cancellation ends a stream as other terminal events do.
func TestStreamOfACancelledOrder(t *testing.T) {
	n := open(t)
	n.run(t)
	id := n.place(t, "a", 2, 1)
	stream := readEvents(follow(t, serve(t, n), id, "1-1").body)
	n.do(t, "POST", "/api/v1/orders/1/cancel", "")
	if got := stream.all(); fmt.Sprint(got) != "[1-2 OrderCancelled]" {
		t.Errorf("events %v", got)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	n := open(t, func(o *api.Options) { o.MaxStreams = 1 })
	n.run(t)
	server := serve(t, n)
	id := n.place(t, "a", 2, 1)
	first := readEvents(follow(t, server, id, "").body)
	first.next()
	refused := follow(t, server, id, "")
	body, _ := io.ReadAll(refused.body)
	if refused.status != http.StatusServiceUnavailable || !strings.Contains(string(body), `"error":"overloaded"`) || refused.header.Get("Retry-After") != "1" {
		t.Errorf("the second stream was answered %d %s", refused.status, body)
	}
	n.intake.settle(t, id, order.Succeeded)
	first.all()
	n.do(t, "GET", "/api/v1/orders/1/events", "").expect(t, http.StatusOK, []string{"OrderPaid"})
}

func TestHeadOfAStream(t *testing.T) {
	n := open(t)
	n.place(t, "a", 2, 1)
	a := n.do(t, "HEAD", "/api/v1/orders/1/events", "", "Accept: text/event-stream")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("answered %d %v", a.status, a.header)
	}
}

// Draining ends streams. A stream that begins meanwhile gets the events so far and ends.
func TestDrainEndsStreams(t *testing.T) {
	n := open(t)
	n.run(t)
	server := serve(t, n)
	id := n.place(t, "a", 2, 1)
	before := readEvents(follow(t, server, id, "").body)
	before.next()
	n.Drain()
	if rest := before.all(); len(rest) > 0 {
		t.Errorf("the stream ended with %v", rest)
	}
	late := follow(t, server, id, "")
	if got := readEvents(late.body).all(); late.status != http.StatusOK || fmt.Sprint(got) != "[1-1 OrderCreated]" {
		t.Errorf("a late stream was answered %d with %v", late.status, got)
	}
}

func TestRunEndsStreams(t *testing.T) {
	n := open(t)
	stop := n.run(t)
	stream := readEvents(follow(t, serve(t, n), n.place(t, "a", 2, 1), "").body)
	stream.next()
	stop()
	if rest := stream.all(); len(rest) > 0 {
		t.Errorf("the stream ended with %v", rest)
	}
}

// The remaining tests run in synctest bubbles: a real server on connections that are pipes.

func servePipes(t *testing.T, n *server) *env.Pipes {
	t.Helper()
	return env.ServePipes(t, web.NewServer(n.Handler(), web.Limits{}))
}

// followOn requests an event stream over a connection and reads the headers of the answer.
func followOn(t *testing.T, c net.Conn, id int64, headers ...string) streamed {
	t.Helper()
	more := strings.Join(append(headers, ""), "\r\n")
	if _, err := fmt.Fprintf(c, "GET /api/v1/orders/%d/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n%s\r\n", id, more); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return streamed{response.StatusCode, response.Header, response.Body}
}

// A stream without events lasts longer than the server's limits on a request, and sends a comment every 15 seconds.
func TestStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(followOn(t, c, id).body)
		rest := make(chan []string)
		go func() { rest <- stream.all() }()
		time.Sleep(10*time.Minute + time.Second)
		n.intake.settle(t, id, order.Succeeded)
		if got := <-rest; len(got) != 3 || stream.comments != 40 {
			t.Errorf("events %v and %d comments in ten minutes, want 3 and 40", got, stream.comments)
		}
	})
}

// A lost wake-up signal delays an event until a keep-alive reads the table.
func TestLostWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(followOn(t, c, id).body)
		stream.next()
		n.bus.loses.Store(true)
		n.intake.settle(t, id, order.Succeeded)
		began := time.Now()
		if got := stream.all(); fmt.Sprint(got) != "[1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %v", got)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// changing is a store in which the events change after the next read.
type changing struct {
	*store.Store
	change func() // nil for none
}

func (c *changing) Events(ctx context.Context, id int64, after int) ([]order.Event, error) {
	events, err := c.Store.Events(ctx, id, after)
	if change := c.change; change != nil {
		c.change = nil
		change()
	}
	return events, err
}

// A change between the first read of the table and the first event wakes the stream, since it registers before it reads.
func TestChangeDuringTheFirstRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reader *changing
		n := open(t, func(o *api.Options) {
			reader = &changing{Store: o.Reader.(*store.Store)}
			o.Reader = reader
		})
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		reader.change = func() {
			n.intake.settle(t, id, order.Succeeded)
			synctest.Wait() // until the waker has taken the message
		}
		stream := readEvents(followOn(t, c, id).body)
		if got := stream.all(); fmt.Sprint(got) != "[1-1 OrderCreated 1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %v", got)
		}
		if stream.comments > 0 {
			t.Errorf("the stream read the table after %d keep-alive comments, not when it was woken", stream.comments)
		}
	})
}

// A stream waits for a database that is unavailable.
func TestStreamWithoutDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *reader
		n := open(t, withReader(&r))
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(followOn(t, c, id).body)
		stream.next()
		r.fail(order.Errorf(order.CodeUnavailable, "unavailable"))
		n.intake.settle(t, id, order.Succeeded)
		synctest.Wait()
		r.fail(nil)
		if got := stream.all(); fmt.Sprint(got) != "[1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %v", got)
		}
	})
}

// A client that does not read is disconnected at its write deadline, and does not delay others.
func TestSlowReaderIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		p := servePipes(t, n)
		slow, quick := p.Dial(t), p.Dial(t)
		followOn(t, slow, id) // which reads no more
		stream := readEvents(followOn(t, quick, id).body)
		stream.next()
		synctest.Wait()
		if got := openStreams(t, n); got != 2 {
			t.Fatalf("%d streams are open, want 2", got)
		}
		n.intake.claim(t, id)
		if e, _ := stream.next(); e.id != "1-2" {
			t.Errorf("the client that reads got %+v", e)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := openStreams(t, n); got != 1 {
			t.Errorf("%d streams are open, want 1", got)
		}
	})
}

// The stream of a client that disconnects ends at once.
func TestClientDisconnectsFromItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		readEvents(followOn(t, c, id).body).next()
		_ = c.Close()
		synctest.Wait()
		if got := openStreams(t, n); got != 0 {
			t.Errorf("%d streams are open, want none", got)
		}
	})
}

// The bus may be disconnected when the API starts, and later.
func TestBusDisconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		disconnected := errors.New("the bus is disconnected")
		n.bus.fault.Store(&disconnected)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(followOn(t, c, id).body)
		stream.next()
		n.intake.claim(t, id) // no stream is woken, but the subscription makes every stream read the table
		began := time.Now()
		if e, _ := stream.next(); e.id != "1-2" || time.Since(began) > 2*time.Second {
			t.Errorf("got %+v after %s", e, time.Since(began))
		}
		if !strings.Contains(n.logs.String(), "streams.disconnected") {
			t.Errorf("the log lacks the disconnection of the bus: %s", n.logs)
		}
		subscription := <-n.bus.subscribed
		_ = subscription.Close() // the waker subscribes again
		synctest.Wait()
		n.intake.settle(t, id, order.Succeeded)
		if e, _ := stream.next(); e.id != "1-3" || time.Since(began) > 4*time.Second {
			t.Errorf("got %+v after %s", e, time.Since(began))
		}
	})
}
