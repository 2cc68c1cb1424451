package realtime

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Server counts.
type metrics struct {
	delivered, slow, lost, refused, published prometheus.Counter
	turnedAway                                *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer, open func() int) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		delivered: counter("orderflow_realtime_deliveries_total", "Events queued to subscribers."),
		slow:      counter("orderflow_realtime_slow_total", "Connections that were cut off since they did not take what was sent."),
		lost:      counter("orderflow_realtime_lagged_total", "Times that this node fell so far behind the bus that it lost messages."),
		refused:   counter("orderflow_realtime_subscriptions_refused_total", "Subscriptions that were refused."),
		published: counter("orderflow_realtime_published_total", "Events taken in by the HTTP API."),
		turnedAway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_realtime_turned_away_total", Help: "Connections that were not let in, by the protocol's code.",
		}, []string{"code"}),
	}
	c := newCodes()
	for _, code := range []Code{c.unknownApp, c.badVersion, c.wrongVersion, c.noVersion, c.badOrigin, c.overCapacity} {
		m.turnedAway.WithLabelValues(strconv.Itoa(code.Number)) // a series that begins at 0 shows its first client
	}
	sockets := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_realtime_connections", Help: "WebSocket connections that are open.",
	}, func() float64 { return float64(open()) })
	to.MustRegister(m.delivered, m.slow, m.lost, m.refused, m.published, m.turnedAway, sockets)
	return m
}
