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

// event is one server-sent event as a client reads it.
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

// serve starts a real server for the node.
func serve(t *testing.T, n *node) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = web.NewServer(n.Handler(), web.Limits{})
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// streamed is the answer to a request for an event stream, its body still to be read.
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

// openStreams is the metric of them.
func openStreams(t *testing.T, n *node) int {
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
	t.Fatal("there is no such metric")
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
	n.desk.claim(t, id)
	expect("1-2", "OrderProcessing")
	n.desk.settle(t, id, order.Declined)
	expect("1-3", "OrderFailed")
	if e, ok := stream.next(); ok {
		t.Errorf("after the end came %+v", e)
	}
}

// Wherever a client was cut off, it goes on from there; one that has everything is told not to come back.
func TestStreamResumes(t *testing.T) {
	n := open(t)
	server := serve(t, n)
	id := n.place(t, "a", 2, 1)
	other := n.place(t, "b", 2, 1)
	n.desk.settle(t, id, order.Succeeded)
	n.desk.settle(t, other, order.Succeeded)
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
	n.desk.settle(t, id, order.Succeeded)
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

// Cancelling ends a stream like the other ends do.
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
	n.desk.settle(t, id, order.Succeeded)
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

// Draining ends streams; one that comes in while it lasts gets what there is, and its client comes back elsewhere.
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

// The rest runs in a bubble, where time is free: a real server on connections that are pipes.

func servePipes(t *testing.T, n *node) *env.Pipes {
	t.Helper()
	return env.ServePipes(t, web.NewServer(n.Handler(), web.Limits{}))
}

// ask sends the request for an event stream over a connection and reads the answer's headers.
func ask(t *testing.T, c net.Conn, id int64, headers ...string) streamed {
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

// A quiet stream outlives the server's limits on a request, and says every 15 seconds that it is there.
func TestStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(ask(t, c, id).body)
		rest := make(chan []string)
		go func() { rest <- stream.all() }()
		time.Sleep(10*time.Minute + time.Second)
		n.desk.settle(t, id, order.Succeeded)
		if got := <-rest; len(got) != 3 || stream.comments != 40 {
			t.Errorf("events %v and %d comments in ten minutes, want 3 and 40", got, stream.comments)
		}
	})
}

// A wake-up that got lost costs at most the time to the next keep-alive.
func TestLostWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(ask(t, c, id).body)
		stream.next()
		n.news.deaf.Store(true)
		n.desk.settle(t, id, order.Succeeded)
		began := time.Now()
		if got := stream.all(); fmt.Sprint(got) != "[1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %v", got)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

// changing is a store whose next answer about events is out of date when it arrives.
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

// A stream is woken by what is published between its first read of the table and its first event: it registers before it reads.
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
			n.desk.settle(t, id, order.Succeeded)
			synctest.Wait() // until the waker has taken the message
		}
		stream := readEvents(ask(t, c, id).body)
		if got := stream.all(); fmt.Sprint(got) != "[1-1 OrderCreated 1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %v", got)
		}
		if stream.comments > 0 {
			t.Errorf("the stream looked after %d keep-alive comments, and not when it was woken", stream.comments)
		}
	})
}

// While the database is away a stream waits for it.
func TestStreamOutlivesTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *reader
		n := open(t, withReader(&r))
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		stream := readEvents(ask(t, c, id).body)
		stream.next()
		r.fail(order.Errorf(order.CodeUnavailable, "away"))
		n.desk.settle(t, id, order.Succeeded)
		synctest.Wait()
		r.fail(nil)
		if got := stream.all(); fmt.Sprint(got) != "[1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %v", got)
		}
	})
}

// A client that takes nothing is dropped when its time to write is over; it holds nobody else up.
func TestSlowReaderIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		p := servePipes(t, n)
		slow, quick := p.Dial(t), p.Dial(t)
		ask(t, slow, id) // and reads no more
		stream := readEvents(ask(t, quick, id).body)
		stream.next()
		synctest.Wait()
		if got := openStreams(t, n); got != 2 {
			t.Fatalf("%d streams are open, want 2", got)
		}
		n.desk.claim(t, id)
		if e, _ := stream.next(); e.id != "1-2" {
			t.Errorf("the quick one got %+v", e)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if got := openStreams(t, n); got != 1 {
			t.Errorf("%d streams are open, want the quick one alone", got)
		}
	})
}

// A client that goes away frees its place at once.
func TestClientLeavesItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		n.run(t)
		id := n.place(t, "a", 2, 1)
		c := servePipes(t, n).Dial(t)
		readEvents(ask(t, c, id).body).next()
		_ = c.Close()
		synctest.Wait()
		if got := openStreams(t, n); got != 0 {
			t.Errorf("%d streams are open, want none", got)
		}
	})
}

// The bus may be away when the API starts, and may lose what it has for a reader that is behind.
func TestBusFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t)
		away := errors.New("the bus is away")
		n.news.fault.Store(&away)
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
		stream := readEvents(ask(t, c, id).body)
		stream.next()
		n.desk.claim(t, id) // nobody hears of it, but joining the bus makes every stream look
		began := time.Now()
		if e, _ := stream.next(); e.id != "1-2" || time.Since(began) > 2*time.Second {
			t.Errorf("got %+v after %s", e, time.Since(began))
		}
		if !strings.Contains(n.logs.String(), "streams.disconnected") {
			t.Errorf("the log does not say that the bus was away: %s", n.logs)
		}
		tail := <-n.news.joined
		_ = tail.Close() // the tail ends; the waker joins again
		synctest.Wait()
		n.desk.settle(t, id, order.Succeeded)
		if e, _ := stream.next(); e.id != "1-3" || time.Since(began) > 4*time.Second {
			t.Errorf("got %+v after %s", e, time.Since(began))
		}
	})
}
