package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/api"
	"orderflow/internal/order"
)

// count returns how often an answer was counted.
func count(t testing.TB, n *server, method, route, code string) int {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "orderflow_http_request_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			have := map[string]string{}
			for _, label := range m.GetLabel() {
				have[label.GetName()] = label.GetValue()
			}
			if have["method"] == method && have["route"] == route && have["code"] == code {
				return int(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// Labels are patterns, so unknown paths and methods create no new series.
func TestMetricsByRoute(t *testing.T) {
	n := open(t)
	n.place(t, "a", 2, 1)
	for _, path := range []string{"/api/v1/orders/1", "/api/orders/1", "/api/v1/orders/2"} {
		n.do(t, "GET", path, "")
	}
	n.do(t, "BREW", "/api/v1/orders/1", "")
	n.do(t, "OPTIONS", "/api/v1/orders", "", "Origin: http://localhost", "Access-Control-Request-Method: POST")
	n.do(t, "GET", "/api/v1/invented", "")
	n.do(t, "GET", "/api/../invented", "")
	for _, c := range []struct {
		method, route, code string
		want                int
	}{
		{"POST", "/api/v1/orders", "201", 1},
		{"GET", "/api/v1/orders/{id}", "200", 2},
		{"GET", "/api/v1/orders/{id}", "404", 1},
		{"other", "/api/v1/orders/{id}", "405", 1},
		{"other", "unmatched", "404", 2},
		{"other", "unmatched", "204", 1}, // the preflight
	} {
		if got := count(t, n, c.method, c.route, c.code); got != c.want {
			t.Errorf("%s %s %s was counted %d times, want %d", c.method, c.route, c.code, got, c.want)
		}
	}
}

func TestMetricsHandler(t *testing.T) {
	n := open(t, func(o *api.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte("orderflow_figure 1\n"))
		})
	})
	a := n.do(t, "GET", "/metrics", "")
	a.expect(t, http.StatusOK, []string{"orderflow_figure 1"})
	if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		t.Errorf("content type %q", got)
	}
}

// Requests of the same moment share one gathering. No request gets a gathering that began before the request.
func TestMetricsAreGatheredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gathered atomic.Int64
		next := make(chan struct{})
		n := open(t, func(o *api.Options) {
			o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				number := gathered.Add(1)
				<-next
				_, _ = fmt.Fprintf(w, "gathering %d\n", number)
			})
		})
		bodies := make(chan string, 101)
		scrape := func() { bodies <- n.do(t, "GET", "/metrics", "").body }
		go scrape()
		synctest.Wait()
		for range 100 {
			go scrape()
		}
		synctest.Wait()
		if got := gathered.Load(); got != 1 {
			t.Errorf("%d gatherings run at once, want 1", got)
		}
		next <- struct{}{}
		if got := <-bodies; got != "gathering 1\n" {
			t.Errorf("the first request got %q", got)
		}
		next <- struct{}{}
		for range 100 {
			if got := <-bodies; got != "gathering 2\n" {
				t.Errorf("a request that came during gathering 1 got %q", got)
			}
		}
	})
}

// A gathering that fails is an internal error, and the log has its cause.
func TestMetricsFail(t *testing.T) {
	n := open(t, func(o *api.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "secret reason", http.StatusInternalServerError)
		})
	})
	n.do(t, "GET", "/metrics", "").expect(t, http.StatusInternalServerError, []string{`"error":"internal_error"`}, "secret")
	if !strings.Contains(n.logs.String(), "secret reason") {
		t.Errorf("the log lacks the reason: %s", n.logs)
	}
}

func TestNoMetricsWithoutAHandler(t *testing.T) {
	recorder := httptest.NewRecorder()
	open(t).ServeHTTP(recorder, newRequest(t.Context(), "GET", "/metrics", ""))
	if recorder.Code != http.StatusNotFound {
		t.Errorf("status %d, want 404", recorder.Code)
	}
}

// outcomes returns a counter by outcome, without zeros.
func outcomes(t *testing.T, n *server, name string) map[string]int {
	t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if value := int(m.GetCounter().GetValue()); value > 0 {
				counts[m.GetLabel()[0].GetValue()] = value
			}
		}
	}
	return counts
}

// Each request to order or to cancel is counted once by its outcome, also when the API refuses it before the intake.
func TestOutcomesAreCounted(t *testing.T) {
	n := open(t, withAuth(true, nil))
	user := n.bearer(t, order.Token{UserID: 1})
	for _, body := range []string{
		orderJSON(1, "a", 2, 1), orderJSON(1, "a", 2, 1), orderJSON(1, "b", 5, 9), orderJSON(2, "c", 2, 1), "{", `{}`,
		orderJSON(1, "d", 99, 1), strings.Repeat(" ", 70_000),
	} {
		n.do(t, "POST", "/api/v1/orders", body, user)
	}
	n.do(t, "POST", "/api/v1/orders", orderJSON(1, "e", 2, 1))
	n.do(t, "POST", "/api/v1/orders?x=1", orderJSON(1, "f", 2, 1), user)
	want := map[string]int{
		"created": 1, "replayed": 1, "insufficient_stock": 1, "forbidden": 1, "malformed_json": 1, "validation_error": 3,
		"payload_too_large": 1, "unauthenticated": 1,
	}
	if diff := cmp.Diff(want, outcomes(t, n, "orderflow_orders_total")); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	n.do(t, "POST", "/api/v1/orders/1/cancel", "", user)
	n.do(t, "POST", "/api/v1/orders/99/cancel", "", user)
	n.do(t, "POST", "/api/v1/orders/1/cancel", "")
	want = map[string]int{"cancelled": 1, "not_found": 1, "unauthenticated": 1}
	if diff := cmp.Diff(want, outcomes(t, n, "orderflow_cancels_total")); diff != "" {
		t.Errorf("cancels (-want +got):\n%s", diff)
	}
}
