package worker

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// metrics are the metrics of a Worker.
type metrics struct {
	claims     *prometheus.CounterVec   // by task
	calls      *prometheus.CounterVec   // by kind and outcome
	latency    *prometheus.HistogramVec // of calls, by kind and outcome
	lag        prometheus.Histogram
	swept      prometheus.Counter
	failedJobs prometheus.Counter
	unreadable prometheus.Counter
	unsettled  prometheus.Counter
	locked     prometheus.Counter
	batchSize  *prometheus.HistogramVec // by kind, as the two below
	batchWait  *prometheus.HistogramVec
	batchTime  *prometheus.HistogramVec
}

// newMetrics creates the metrics and, with a registerer, registers them.
func newMetrics(to prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	byKind := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"kind"})
	}
	short := prometheus.ExponentialBuckets(0.0001, 4, 9) // 100 µs to 6.5 s
	m := &metrics{
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_worker_claims_total", Help: "Claims by task: charge, void, or none (another worker had the order).",
		}, []string{"task"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_worker_calls_total",
			Help: "Calls to the gateway by kind and outcome. With the outcome handed_back the gateway was not called.",
		}, []string{"kind", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orderflow_worker_call_seconds", Help: "Duration of calls to the gateway, by kind and outcome.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30},
		}, []string{"kind", "outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderflow_worker_queue_lag_seconds", Help: "Time from an order's creation to its claim, for orders claimed by message.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
		swept:      counter("orderflow_worker_swept_total", "Due orders that the sweeper found."),
		failedJobs: counter("orderflow_worker_failed_jobs_total", "Payments that used up their attempts in this process."),
		unreadable: counter("orderflow_worker_poisoned_total", "Messages that could not be read."),
		unsettled:  counter("orderflow_worker_unsettled_total", "Outcomes that could not be recorded; their charges are repeated with the same key."),
		locked:     counter("orderflow_worker_locked_total", "Orders that a claim left out because another transaction kept their rows locked."),
		batchSize:  byKind("orderflow_worker_batch_size", "Claims or settlements per transaction.", prometheus.ExponentialBuckets(1, 2, 11)),
		batchWait:  byKind("orderflow_worker_batch_wait_seconds", "Longest wait of a batch's member for its transaction.", short),
		batchTime:  byKind("orderflow_worker_batch_commit_seconds", "Duration of a batch's transaction.", short),
	}
	// A series must begin at 0 to show its first event. Histograms are left out, to save series.
	for _, task := range []string{string(order.TaskCharge), string(order.TaskVoid), "none"} {
		m.claims.WithLabelValues(task)
	}
	for _, kind := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		for _, outcome := range []order.Outcome{order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack} {
			m.calls.WithLabelValues(string(kind), string(outcome))
		}
	}
	if to != nil {
		to.MustRegister(m.claims, m.calls, m.latency, m.lag, m.swept, m.failedJobs, m.unreadable, m.unsettled, m.locked,
			m.batchSize, m.batchWait, m.batchTime)
	}
	return m
}

// depthReporter is a bus that reports the depth of its queues.
type depthReporter interface {
	Depth(ctx context.Context, topic, group string) (bus.Depth, error)
}

// depthTimeout bounds the query, so that an unresponsive bus does not delay a scrape for long.
const depthTimeout = 500 * time.Millisecond

// registerSlots registers the gauges of the slots.
func (m *metrics) registerSlots(to prometheus.Registerer, slots int, inFlight func() int) {
	if to == nil {
		return
	}
	to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_worker_in_flight", Help: "Orders being claimed, charged or settled.",
	}, func() float64 { return float64(inFlight()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_worker_slots", Help: "Orders that may be in flight at once.",
	}, func() float64 { return float64(slots) }))
}

// registerQueueDepth registers the depth of the workers' queue, if the bus reports it. Each scrape queries the bus.
func registerQueueDepth(to prometheus.Registerer, b bus.Bus) {
	queue, ok := b.(depthReporter)
	if to == nil || !ok {
		return
	}
	to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_worker_queue_depth", Help: "Messages that wait for a worker; -1 when the bus does not answer.",
	}, queueDepth{queue}.read))
}

// queueDepth reads the depth of the workers' queue.
type queueDepth struct{ queue depthReporter }

func (d queueDepth) read() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), depthTimeout) // a scrape passes no context
	defer cancel()
	depth, err := d.queue.Depth(ctx, bus.TopicJobs, bus.GroupWorkers)
	if err != nil {
		return -1
	}
	return float64(depth.Waiting)
}

// claimed counts a claim. since is when the order was created, or zero when the sweeper found it.
func (m *metrics) claimed(c order.Claimed, since time.Time) {
	task := string(c.Task)
	if c.Task == order.TaskNone {
		task = "none"
	}
	m.claims.WithLabelValues(task).Inc()
	switch {
	case c.Task == order.TaskCharge && !since.IsZero():
		m.lag.Observe(max(0, time.Since(since).Seconds()))
	case c.Task == order.TaskNone && since.IsZero() && c.Order != nil && c.Order.Status == order.Processing && c.Order.DueAt.IsZero():
		m.failedJobs.Inc() // it was due with no attempts left
	}
}

// observeBatch returns the Observe hook of a batcher.
func (m *metrics) observeBatch(kind string) func(size int, waited, took time.Duration) {
	size, wait, commit := m.batchSize.WithLabelValues(kind), m.batchWait.WithLabelValues(kind), m.batchTime.WithLabelValues(kind)
	return func(n int, waited, took time.Duration) {
		size.Observe(float64(n))
		wait.Observe(waited.Seconds())
		commit.Observe(took.Seconds())
	}
}
