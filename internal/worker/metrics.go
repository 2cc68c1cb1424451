package worker

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
)

// metrics are what a Worker counts.
type metrics struct {
	claims      *prometheus.CounterVec   // by task
	calls       *prometheus.CounterVec   // by kind and outcome
	latency     *prometheus.HistogramVec // of calls, by kind and outcome
	lag         prometheus.Histogram
	swept       prometheus.Counter
	deadLetters prometheus.Counter
	poisoned    prometheus.Counter
	unsettled   prometheus.Counter
	locked      prometheus.Counter
	batchSize   *prometheus.HistogramVec // by kind, as the two below
	batchWait   *prometheus.HistogramVec
	batchTime   *prometheus.HistogramVec
}

// newMetrics makes the metrics and, with a registerer, registers them.
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
			Name: "orderflow_worker_claims_total", Help: "Claims by what they obliged to: charge, void, or none (somebody else had the order).",
		}, []string{"task"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderflow_worker_calls_total", Help: "Claims by kind and outcome of their call to the gateway; handed_back did not call it.",
		}, []string{"kind", "outcome"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orderflow_worker_call_seconds", Help: "Time that the gateway took, by kind and outcome of the call.",
			Buckets: []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30},
		}, []string{"kind", "outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderflow_worker_queue_lag_seconds", Help: "Time from an order's creation to the claim that its message led to.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
		swept:       counter("orderflow_worker_swept_total", "Due orders that the sweeper found."),
		deadLetters: counter("orderflow_worker_dead_letters_total", "Payments that used up their tries here."),
		poisoned:    counter("orderflow_worker_poisoned_total", "Messages that could not be read."),
		unsettled:   counter("orderflow_worker_unsettled_total", "Outcomes that could not be recorded; their charges are asked for again."),
		locked:      counter("orderflow_worker_locked_total", "Claims that left an order out because another transaction kept it locked."),
		batchSize:   byKind("orderflow_worker_batch_size", "Claims or settlements in a transaction.", prometheus.ExponentialBuckets(1, 2, 11)),
		batchWait:   byKind("orderflow_worker_batch_wait_seconds", "Longest wait of a batch's member for its transaction.", short),
		batchTime:   byKind("orderflow_worker_batch_commit_seconds", "Time of a batch's transaction.", short),
	}
	// Series that begin at 0 show the first event; of histograms there are enough as it is.
	for _, task := range []string{string(order.TaskCharge), string(order.TaskVoid), "none"} {
		m.claims.WithLabelValues(task)
	}
	for _, kind := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		for _, outcome := range []order.Outcome{order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack} {
			m.calls.WithLabelValues(string(kind), string(outcome))
		}
	}
	if to != nil {
		to.MustRegister(m.claims, m.calls, m.latency, m.lag, m.swept, m.deadLetters, m.poisoned, m.unsettled, m.locked,
			m.batchSize, m.batchWait, m.batchTime)
	}
	return m
}

// measured is a bus that knows how long its queues are.
type measured interface {
	Depth(ctx context.Context, topic, group string) (bus.Depth, error)
}

// depthLimit bounds the look at the queue, so that a bus that does not answer holds up no scrape for long.
const depthLimit = 500 * time.Millisecond

// watch registers what is looked up when somebody looks.
func (m *metrics) watch(to prometheus.Registerer, slots int, inFlight func() int) {
	if to == nil {
		return
	}
	to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_worker_in_flight", Help: "Orders being claimed, charged or settled.",
	}, func() float64 { return float64(inFlight()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_worker_slots", Help: "Orders that may be in flight at once.",
	}, func() float64 { return float64(slots) }))
}

// watchQueue registers the length of the workers' queue, if the bus knows it. Who looks makes it ask.
func watchQueue(to prometheus.Registerer, b bus.Bus) {
	queue, ok := b.(measured)
	if to == nil || !ok {
		return
	}
	to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_worker_queue_depth", Help: "Messages that wait for a worker; -1 when the bus does not say.",
	}, depthOf{queue}.read))
}

// depthOf is the length of the workers' queue.
type depthOf struct{ queue measured }

func (d depthOf) read() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), depthLimit) // a scrape hands down none
	defer cancel()
	depth, err := d.queue.Depth(ctx, bus.TopicJobs, bus.GroupWorkers)
	if err != nil {
		return -1
	}
	return float64(depth.Waiting)
}

// claimed counts a claim. since is when its order was created, or zero when the sweeper found it.
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
		m.deadLetters.Inc() // it was due with no tries left
	}
}

// observeBatch returns the hook of a batcher.
func (m *metrics) observeBatch(kind string) func(size int, waited, took time.Duration) {
	size, wait, commit := m.batchSize.WithLabelValues(kind), m.batchWait.WithLabelValues(kind), m.batchTime.WithLabelValues(kind)
	return func(n int, waited, took time.Duration) {
		size.Observe(float64(n))
		wait.Observe(waited.Seconds())
		commit.Observe(took.Seconds())
	}
}
