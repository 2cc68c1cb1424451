package outbox

import (
	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
)

// metrics are the metrics of a Publisher or a Relay; the label via distinguishes the two.
type metrics struct {
	published *prometheus.CounterVec // by topic
	refused   *prometheus.CounterVec // by topic
	dropped   prometheus.Counter     // the publisher's
	took      prometheus.Histogram   // the publisher's
	relayed   prometheus.Counter     // the relay's
	overdue   prometheus.Gauge       // the relay's
}

// newMetrics creates the metrics and, with a registerer, registers those of via: publisher or relay.
func newMetrics(to prometheus.Registerer, via string) *metrics {
	labels := prometheus.Labels{"via": via}
	m := &metrics{
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_outbox_published_total", Help: "Events that the bus accepted.", ConstLabels: labels,
		}, []string{"topic"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_outbox_refused_total", Help: "Events that the bus refused; they stay unpublished.", ConstLabels: labels,
		}, []string{"topic"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_outbox_dropped_total", Help: "Events that the publisher left to the relay because its queue was full.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderflow_outbox_publish_seconds", Help: "Time to publish all waiting events.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 4, 9),
		}),
		relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_outbox_relayed_total", Help: "Outbox rows that the relay published in place of a publisher.",
		}),
		overdue: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderflow_outbox_overdue", Help: "Unpublished outbox rows in the relay's last batch.",
		}),
	}
	if to == nil {
		return m
	}
	for _, topic := range []string{bus.TopicJobs, bus.TopicChanges} { // a series must begin at 0 to show its first refusal
		m.published.WithLabelValues(topic)
		m.refused.WithLabelValues(topic)
	}
	to.MustRegister(m.published, m.refused)
	if via == "relay" {
		to.MustRegister(m.relayed, m.overdue)
	} else {
		to.MustRegister(m.dropped, m.took)
	}
	return m
}

// registerWaiting registers the length of the publisher's queue.
func (m *metrics) registerWaiting(to prometheus.Registerer, events func() int) {
	if to == nil {
		return
	}
	to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_outbox_waiting", Help: "Events that wait for the publisher.",
	}, func() float64 { return float64(events()) }))
}
