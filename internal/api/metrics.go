package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/web"
)

// metrics are the metrics of the API, by method, route (the pattern, not the path of the request) and status.
type metrics struct {
	registerer prometheus.Registerer
	took       *prometheus.HistogramVec
	unmatched  *timing
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{
		registerer: registerer,
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orderflow_http_request_duration_seconds",
			Help: "Time from a request's headers to the end of its answer (event streams: to their beginning). " +
				"Code 499: the caller disconnected before the answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"method", "route", "code"}),
	}
	registerer.MustRegister(m.took)
	m.unmatched = m.timing("other", "unmatched")
	return m
}

// streams registers the number of open event streams.
func (m *metrics) streams(open func() int) {
	m.registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_http_streams", Help: "Open event streams.",
	}, func() float64 { return float64(open()) }))
}

// timing is the histograms of one route. Each is looked up once, with the first answer of its status.
type timing struct {
	metrics       *metrics
	method, route string
	name          string // method and route
	byStatus      [600 - 200]atomic.Pointer[prometheus.Observer]
}

func (m *metrics) timing(method, route string) *timing {
	return &timing{metrics: m, method: method, route: route, name: method + " " + route}
}

// observe counts one answer.
func (t *timing) observe(status int, took time.Duration) {
	i := status - 200
	if i < 0 || i >= len(t.byStatus) {
		i = 0 // net/http sends 200 when nothing was written
	}
	observer := t.byStatus[i].Load()
	if observer == nil {
		found := t.metrics.took.WithLabelValues(t.method, t.route, strconv.Itoa(200+i))
		observer = &found
		t.byStatus[i].Store(observer)
	}
	(*observer).Observe(took.Seconds())
}

// metricsPage is one page of metrics as the handler of /metrics wrote it.
type metricsPage struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (p *metricsPage) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *metricsPage) WriteHeader(status int) { p.status = status }

// Write implements http.ResponseWriter.
func (p *metricsPage) Write(b []byte) (int, error) { return p.body.Write(b) }

// newMetricsCache returns a cache of the page that the handler writes in an encoding, "" for plain text. Any client may request the
// metrics as often as it likes, so requests of the same moment share one gathering and one copy of the page.
func newMetricsCache(handler http.Handler, encoding string) *cache[*metricsPage] {
	// Each request invalidates the cache. So age matters only to requests that wait for the same gathering and take it late.
	return &cache[*metricsPage]{age: time.Second, fetch: func(ctx context.Context) (*metricsPage, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept-Encoding", encoding)
		page := &metricsPage{header: http.Header{}, status: http.StatusOK}
		handler.ServeHTTP(page, r)
		if page.status != http.StatusOK {
			return nil, fmt.Errorf("gather the metrics: status %d, %.200q", page.status, page.body.Bytes())
		}
		return page, nil
	}}
}

// showMetrics answers with metrics that were gathered after the request arrived.
func (a *API) showMetrics(rc *requestContext) error {
	pages := a.plainMetrics
	if web.AcceptsGzip(rc.r.Header.Get("Accept-Encoding")) {
		pages = a.gzipMetrics
	}
	pages.invalidate()
	page, err := pages.get(rc.r.Context())
	if err != nil {
		return err
	}
	h := rc.Header()
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		if value := page.header.Get(name); value != "" {
			h.Set(name, value)
		}
	}
	h.Add("Vary", "Accept-Encoding")
	return rc.sendLarge(http.StatusOK, page.body.Bytes())
}
