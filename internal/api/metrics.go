package api

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the API counts: by method, route (the pattern, never the path that was asked for) and status.
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
				"Code 499: the caller left before the answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"method", "route", "code"}),
	}
	registerer.MustRegister(m.took)
	m.unmatched = m.timing("other", "unmatched")
	return m
}

// streams makes the number of open event streams a metric.
func (m *metrics) streams(open func() int) {
	m.registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_http_streams", Help: "Event streams that are open.",
	}, func() float64 { return float64(open()) }))
}

// timing is the histograms of one route. Each is looked up once, with the first answer of its status.
type timing struct {
	metrics       *metrics
	method, route string
	name          string // of both
	byStatus      [600 - 200]atomic.Pointer[prometheus.Observer]
}

func (m *metrics) timing(method, route string) *timing {
	return &timing{metrics: m, method: method, route: route, name: method + " " + route}
}

// observe counts one answer.
func (t *timing) observe(status int, took time.Duration) {
	i := status - 200
	if i < 0 || i >= len(t.byStatus) {
		i = 0 // nothing was written: net/http sends 200
	}
	observer := t.byStatus[i].Load()
	if observer == nil {
		found := t.metrics.took.WithLabelValues(t.method, t.route, strconv.Itoa(200+i))
		observer = &found
		t.byStatus[i].Store(observer)
	}
	(*observer).Observe(took.Seconds())
}
