package app_test

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// receiver is an OTLP receiver over HTTP.
type receiver struct {
	url string

	lock     sync.Mutex
	spans    []*spans.Span
	received chan struct{} // closed with the next spans
}

// newReceiver starts a receiver. It answers each request with the result of status.
func newReceiver(t *testing.T, status func() int) *receiver {
	t.Helper()
	r := &receiver{received: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		unpacked, err := gzip.NewReader(request.Body)
		if err != nil || request.URL.Path != "/v1/traces" {
			t.Errorf("traces were sent to %s: %v", request.URL.Path, err)
			return
		}
		body, err := io.ReadAll(unpacked)
		var export collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &export) != nil {
			t.Errorf("the request is not an export of traces: %v", err)
		}
		code := status()
		if code == http.StatusOK {
			r.take(&export)
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) take(export *collector.ExportTraceServiceRequest) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	close(r.received)
	r.received = make(chan struct{})
}

// trace waits until the spans of a trace satisfy enough, and returns them.
func (r *receiver) trace(t *testing.T, id string, enough func([]*spans.Span) bool) []*spans.Span {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		r.lock.Lock()
		received := r.received
		its := slices.DeleteFunc(slices.Clone(r.spans), func(s *spans.Span) bool { return hex.EncodeToString(s.GetTraceId()) != id })
		r.lock.Unlock()
		if enough(its) {
			return its
		}
		select {
		case <-received:
		case <-limit.C:
			t.Fatalf("only these spans arrived: %v", named(its))
		}
	}
}

func named(all []*spans.Span) (names []string) {
	for _, s := range all {
		names = append(names, s.GetName())
	}
	slices.Sort(names)
	return names
}

// publishBatch is the name of spans whose number depends on the batches of the publisher.
const publishBatch = "publish batch"

// expectedSpans are the spans of a single order that is paid, with their parents, except publishBatch.
func expectedSpans() map[string][]string {
	return map[string][]string{
		"POST /api/v1/orders": {"caller"},
		"create":              {"POST /api/v1/orders"}, "create batch": {"create"},
		"claim": {"POST /api/v1/orders"}, "claim batch": {"claim"},
		"process": {"POST /api/v1/orders"}, "charge": {"process"},
		"settle": {"process"}, "settle batch": {"settle"},
		// OrderCreated, OrderProcessing and OrderPaid.
		"publish":       {"POST /api/v1/orders", "POST /api/v1/orders", "process"},
		"transaction":   {"claim batch", "create batch", "settle batch"},
		"broadcast":     {"process"},
		"lock products": {"create batch"},
	}
}

// TestTraceOfAnOrder: the whole trace of an order reaches a receiver: from the caller's traceparent through database and bus to the broadcast,
// in one process and in two. Each order has a link to its batch.
func TestTraceOfAnOrder(t *testing.T) {
	t.Parallel()
	for name, ground := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, func() int { return http.StatusOK })
			stand := config.Defaults()
			ground(t, &stand)
			start := func(roles config.Roles) *testServer {
				return serve(t, func(set *config.Settings) {
					set.Database, set.Redis, set.RedisPrefix, set.Roles = stand.Database, stand.Redis, stand.RedisPrefix, roles
					set.OTLPEndpoint, set.TraceSample = r.url, 0
				})
			}
			split := stand.Redis != config.URL{}
			shop := start(config.Roles{API: true, Worker: !split, Realtime: !split})
			if split {
				start(config.Roles{Worker: true, Realtime: true})
			}
			const id, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			shop.expect(shop.buy(1, "not followed", 1, 1), http.StatusCreated, "")
			created := shop.post("/api/v1/orders", `{"user_id":1,"idempotency_key":"k","items":[{"product_id":2,"quantity":1}]}`,
				"Traceparent: 00-"+id+"-"+caller+"-01")
			shop.expect(created, http.StatusCreated, "")
			shop.await(created.order().ID, "PAID")
			checkTrace(t, r.trace(t, id, func(its []*spans.Span) bool {
				return len(slices.DeleteFunc(named(its), func(name string) bool { return name == publishBatch })) >= 17
			}), caller)
			r.lock.Lock()
			defer r.lock.Unlock()
			for _, s := range r.spans {
				if hex.EncodeToString(s.GetTraceId()) != id {
					t.Errorf("a span of a request that is not followed: %s", s.GetName())
				}
			}
		})
	}
}

// checkTrace compares the spans of a trace with expectedSpans.
func checkTrace(t *testing.T, its []*spans.Span, caller string) {
	t.Helper()
	byID := map[string]string{caller: "caller"}
	for _, s := range its {
		byID[hex.EncodeToString(s.GetSpanId())] = s.GetName()
	}
	found := map[string][]string{}
	for _, s := range its {
		found[s.GetName()] = append(found[s.GetName()], byID[hex.EncodeToString(s.GetParentSpanId())])
		batch, isMember := map[string]string{"create": "create batch", "claim": "claim batch", "settle": "settle batch", "publish": publishBatch}[s.GetName()]
		if isMember && (len(s.GetLinks()) != 1 || byID[hex.EncodeToString(s.GetLinks()[0].GetSpanId())] != batch) {
			t.Errorf("%s has the links %v", s.GetName(), s.GetLinks())
		}
	}
	for _, parents := range found {
		slices.Sort(parents)
	}
	if n := len(slices.Compact(found[publishBatch])); n != 1 {
		t.Errorf("%s stands below %q", publishBatch, found[publishBatch])
	}
	delete(found, publishBatch)
	if want := expectedSpans(); fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("the trace is\n%v\nand should be\n%v", found, want)
	}
}

// TestReceiverAway: when a receiver refuses spans or is unreachable, the lost spans are counted, and orders continue.
func TestReceiverAway(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, func() int { return http.StatusBadRequest })
	s := serve(t, func(set *config.Settings) { set.OTLPEndpoint, set.TraceSample = r.url, 1 })
	created := s.buy(1, "k", 1, 1)
	s.expect(created, http.StatusCreated, "")
	s.await(created.order().ID, "PAID")
	s.awaitLostSpans()
}

// TestReceiverElsewhere: spans and their headers are not sent to the target of a redirect.
func TestReceiverElsewhere(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(other.Close)
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(first.Close)
	s := serve(t, func(set *config.Settings) { set.OTLPEndpoint, set.TraceSample = first.URL, 1 })
	s.expect(s.buy(1, "k", 1, 1), http.StatusCreated, "")
	s.awaitLostSpans()
}

// awaitLostSpans waits until lost spans are counted.
func (s *testServer) awaitLostSpans() {
	s.t.Helper()
	lost := regexp.MustCompile(`orderflow_trace_spans_total\{outcome="failed"\} [1-9]`)
	env.Eventually(s.t, "lost spans are counted", func() bool { return lost.MatchString(s.get("/metrics").body) })
}
