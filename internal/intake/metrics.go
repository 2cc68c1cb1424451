package intake

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

// metrics are the metrics of a Service. Their series are looked up once, not for each order.
type metrics struct {
	placed, replayed, gone prometheus.Counter
	refused                map[order.Code]prometheus.Counter
	cancels                map[order.Code]prometheus.Counter // "" for success
	lockWait               prometheus.Histogram
	lockless, lockedRow    prometheus.Counter
	staleLocks             prometheus.Counter
	size, wait, commit     map[string]prometheus.Observer
}

func newMetrics(to prometheus.Registerer, creates, cancels func() int) *metrics {
	orders := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "orderflow_orders_total", Help: "Requests to order by outcome: created, replayed, gone (the caller left), or the code of the refusal.",
	}, []string{"outcome"})
	cancelled := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "orderflow_cancels_total", Help: "Requests to cancel by outcome: cancelled, or the code of the refusal.",
	}, []string{"outcome"})
	byBatch := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"batch"})
	}
	short := prometheus.ExponentialBuckets(0.0001, 4, 9) // 100 µs to 6.5 s
	size := byBatch("orderflow_batch_size", "Requests in a batch.", prometheus.ExponentialBuckets(1, 2, 12))
	wait := byBatch("orderflow_batch_wait_seconds", "Longest wait of a batch's member in the queue.", short)
	commit := byBatch("orderflow_batch_commit_seconds", "Time of a batch's commit; its rate of sum is the share of time spent committing.", short)
	queued := func(name string, depth func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orderflow_batch_queued", Help: "Requests that wait for a batch.", ConstLabels: prometheus.Labels{"batch": name},
		}, func() float64 { return float64(depth()) })
	}
	m := &metrics{
		placed: orders.WithLabelValues("created"), replayed: orders.WithLabelValues("replayed"), gone: orders.WithLabelValues("gone"),
		refused: map[order.Code]prometheus.Counter{}, cancels: map[order.Code]prometheus.Counter{"": cancelled.WithLabelValues("cancelled")},
		lockWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderflow_lock_wait_seconds", Help: "Time that orders waited for a product that another process had locked.", Buckets: short,
		}),
		lockless: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_lock_unavailable_total", Help: "Batches that went on without product locks, because the locks were unavailable.",
		}),
		staleLocks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_lock_stale_total", Help: "Orders that went on without a product lock, because the lock was stale.",
		}),
		lockedRow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderflow_lock_row_total", Help: "Times that an order waited because another transaction had locked the row of its product.",
		}),
		size: map[string]prometheus.Observer{}, wait: map[string]prometheus.Observer{}, commit: map[string]prometheus.Observer{},
	}
	for _, code := range order.Codes() {
		m.refused[code] = orders.WithLabelValues(string(code))
		m.cancels[code] = cancelled.WithLabelValues(string(code))
	}
	for _, name := range []string{"create", "cancel"} {
		m.size[name], m.wait[name], m.commit[name] = size.WithLabelValues(name), wait.WithLabelValues(name), commit.WithLabelValues(name)
	}
	if to != nil {
		to.MustRegister(orders, cancelled, size, wait, commit, m.lockWait, m.lockless, m.staleLocks, m.lockedRow,
			queued("create", creates), queued("cancel", cancels))
	}
	return m
}

func (m *metrics) batch(name string, size int, waited, took time.Duration) {
	m.size[name].Observe(float64(size))
	m.wait[name].Observe(waited.Seconds())
	m.commit[name].Observe(took.Seconds())
}

func (m *metrics) created(placed order.Placed, err error) {
	switch {
	case err == nil && placed.Replayed:
		m.replayed.Inc()
	case err == nil:
		m.placed.Inc()
	default:
		m.failed(m.refused, err)
	}
}

func (m *metrics) cancelled(err error) {
	if err == nil {
		m.cancels[""].Inc()
		return
	}
	m.failed(m.cancels, err)
}

func (m *metrics) failed(by map[order.Code]prometheus.Counter, err error) {
	if coded, ok := errors.AsType[*order.Error](err); ok {
		if counter := by[coded.Code]; counter != nil {
			counter.Inc()
		}
		return
	}
	m.gone.Inc()
}
