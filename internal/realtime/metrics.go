package realtime

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/pusher"
)

// metrics are the metrics of a Server.
type metrics struct {
	delivered, slow, lost, refused, published prometheus.Counter
	turnedAway                                *prometheus.CounterVec
}

func newMetrics(to prometheus.Registerer, open func() int) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		delivered: counter("orderflow_realtime_deliveries_total", "Events queued for subscribers."),
		slow:      counter("orderflow_realtime_slow_total", "Connections closed because the client read too slowly."),
		lost:      counter("orderflow_realtime_lagged_total", "Times that this node fell so far behind the bus that it lost messages."),
		refused:   counter("orderflow_realtime_subscriptions_refused_total", "Subscriptions refused."),
		published: counter("orderflow_realtime_published_total", "Events accepted by the HTTP API."),
		turnedAway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_realtime_turned_away_total", Help: "Connections refused, by the protocol's error code.",
		}, []string{"code"}),
	}
	c := pusher.AllCodes()
	for _, code := range []pusher.Code{c.UnknownApp, c.InvalidVersion, c.UnsupportedVersion, c.NoVersion, c.OriginNotAllowed, c.OverCapacity} {
		m.turnedAway.WithLabelValues(strconv.Itoa(code.Number)) // a series that begins at 0 shows its first increment
	}
	sockets := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_realtime_connections", Help: "Open WebSocket connections.",
	}, func() float64 { return float64(open()) })
	to.MustRegister(m.delivered, m.slow, m.lost, m.refused, m.published, m.turnedAway, sockets)
	return m
}
