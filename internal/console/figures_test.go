package console

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var inf = math.Inf(1)

func TestQuantile(t *testing.T) {
	three := []bucket{{10, 10}, {20, 30}, {inf, 40}}
	nan := math.NaN()
	for name, c := range map[string]struct {
		buckets []bucket
		q, want float64
	}{
		"nothing observed":          {[]bucket{{10, 0}, {inf, 0}}, .5, nan},
		"no buckets":                {nil, .5, nan},
		"inside the first bucket":   {three, .125, 5},
		"at its bound":              {three, .25, 10},
		"inside the second":         {three, .5, 15},
		"at the highest bound":      {three, .75, 20},
		"above the highest bound":   {three, .99, 20},
		"the whole":                 {three, 1, 20},
		"one bucket holds all":      {[]bucket{{1, 0}, {2, 4}, {inf, 4}}, .5, 1.5},
		"the last one of a bucket":  {[]bucket{{1, 0}, {2, 4}, {4, 4}, {inf, 4}}, 1, 2},
		"only above all bounds":     {[]bucket{{1, 0}, {2, 0}, {inf, 3}}, .5, 2},
		"without a bucket of +Inf":  {[]bucket{{1, 1}, {2, 1}}, .5, .5},
		"an empty bucket is passed": {[]bucket{{1, 1}, {2, 1}, {3, 2}, {inf, 2}}, .75, 2.5},
	} {
		h := histogram{buckets: c.buckets}
		if n := len(c.buckets); n > 0 {
			h.count = c.buckets[n-1].count
		}
		if got := h.quantile(c.q); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: the %v quantile is %v, want %v", name, c.q, got, c.want)
		}
	}
}

func TestSince(t *testing.T) {
	earlier := histogram{buckets: []bucket{{1, 2}, {inf, 3}}, count: 3, sum: 10}
	later := histogram{buckets: []bucket{{1, 4}, {inf, 7}}, count: 7, sum: 30}
	want := histogram{buckets: []bucket{{1, 2}, {inf, 4}}, count: 4, sum: 20}
	got := later.since(earlier)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(histogram{}, bucket{})); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if got.mean() != 5 {
		t.Errorf("mean %v, want 5", got.mean())
	}
	if d := later.since(histogram{}); d.count != 7 || d.buckets[1].count != 7 {
		t.Errorf("since nothing: %+v", d)
	}
	if d := earlier.since(later); d.count != 3 || d.sum != 10 { // it began anew
		t.Errorf("anew: %+v", d)
	}
	if m := earlier.since(earlier).mean(); !math.IsNaN(m) {
		t.Errorf("the mean of nothing is %v", m)
	}
}

// metered is a registry with the metrics that the page shows.
type metered struct {
	*prometheus.Registry
	orders, calls *prometheus.CounterVec
	http, batch   *prometheus.HistogramVec
	lag           prometheus.Histogram
	open          *prometheus.GaugeVec
}

func newMetered() *metered {
	m := &metered{
		Registry: prometheus.NewRegistry(),
		orders:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "orderflow_orders_total"}, []string{"outcome"}),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "orderflow_worker_calls_total"}, []string{"kind", "outcome"}),
		http: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orderflow_http_request_duration_seconds", Buckets: []float64{.01, .1, 1},
		}, []string{"method", "route", "code"}),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "orderflow_batch_size", Buckets: []float64{1, 10}}, []string{"batch"}),
		lag:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "orderflow_worker_queue_lag_seconds", Buckets: []float64{1, 2}}),
		open:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "orderflow_orders_open"}, []string{"status"}),
	}
	m.MustRegister(m.orders, m.calls, m.http, m.batch, m.lag, m.open)
	return m
}

func TestFigures(t *testing.T) {
	m := newMetered()
	m.orders.WithLabelValues("created").Add(100)
	m.http.WithLabelValues("POST", "/api/v1/orders", "201").Observe(5)
	began := time.Unix(1000, 0)
	without := readCounters(began, gather(m)) // as of a process without the role worker
	if s := without.since(&without); !math.IsNaN(s.values[figurePaid]) {
		t.Errorf("without the series of a worker %v payments are shown, want none", s.values[figurePaid])
	}
	for _, outcome := range []string{"succeeded", "declined", "no_answer"} { // a worker's series begin at 0
		m.calls.WithLabelValues("charge", outcome)
	}
	before := readCounters(began, gather(m))

	m.orders.WithLabelValues("created").Add(10)
	m.orders.WithLabelValues("replayed").Add(5)
	for code, n := range map[string]int{"201": 8, "409": 6, "422": 4, "429": 2, "503": 10} {
		for range n {
			m.http.WithLabelValues("POST", "/api/v1/orders", code).Observe(.05)
		}
	}
	m.http.WithLabelValues("GET", "/api/v1/products", "200").Observe(5) // an answer, and not an order's time
	m.http.WithLabelValues("GET", "/console", "200").Observe(5)         // nor one of the API
	m.batch.WithLabelValues("create").Observe(3)
	m.batch.WithLabelValues("create").Observe(5)
	m.batch.WithLabelValues("cancel").Observe(100)
	m.calls.WithLabelValues("charge", "succeeded").Add(6)
	m.calls.WithLabelValues("charge", "declined").Add(4)
	m.calls.WithLabelValues("charge", "no_answer").Add(2)
	m.calls.WithLabelValues("void", "succeeded").Add(100)
	m.lag.Observe(.5)
	m.open.WithLabelValues("pending").Set(3)
	m.open.WithLabelValues("processing").Set(4)
	now := readCounters(began.Add(2*time.Second), gather(m))
	s := now.since(&before)
	nan := math.NaN()
	want := [figures]float64{
		figureOrders: 5, figureAnswered: 4.5, figureConflict: 3, figureRefused: 2, figureLimited: 1, figureFailed: 5, figureBatch: 4,
		figureP50: 55, figureP95: 95.5, figureP99: 99.1, figurePaid: 3, figureDeclined: 2, figureUnanswered: 1, figureLag: 950,
		figureOverdue: nan, figureOpen: nan, figureSockets: nan, figureStreams: nan,
	}
	for f, value := range want {
		if got := s.values[f]; math.Abs(got-value) > 1e-6 && !(math.IsNaN(got) && math.IsNaN(value)) || math.IsNaN(got) != math.IsNaN(value) {
			t.Errorf("figure %d is %v, want %v", f, got, value)
		}
	}
	if s.addScraped(gather(m)); s.values[figureOpen] != 7 {
		t.Errorf("open: %v", s.values[figureOpen])
	}
	s.values[figureP99] = inf
	text := string(appendSamples(nil, []sample{s, s}))
	one := "[1002,5,4.5,3,2,1,5,4,55,95.5,null,3,2,1,950,null,7,null,null]"
	if text != "data: ["+one+","+one+"]\n\n" {
		t.Errorf("sent: %s", text)
	}
}

// BenchmarkSample is what a second costs.
func BenchmarkSample(b *testing.B) {
	m := newMetered()
	for _, route := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		for _, code := range []string{"200", "404", "409", "422", "503"} {
			m.http.WithLabelValues("GET", "/api/v1/"+route, code).Observe(1)
		}
	}
	before := readCounters(time.Now(), gather(m))
	for b.Loop() {
		now := readCounters(time.Now(), gather(m))
		_ = now.since(&before)
	}
}
