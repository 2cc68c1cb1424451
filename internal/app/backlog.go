package app

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

const (
	backlogEvery = 5 * time.Second // the database is asked no more often than this, however often somebody scrapes
	backlogLimit = time.Second     // for its answer, so that one that does not answer holds up no scrape for long
)

// backlog is the metrics that only the database knows. They are read when somebody asks for metrics, and kept for a while:
// nothing on the path of an order pays for them. While the database does not answer, orderflow_database_up says so and
// the others are missing rather than old.
type backlog struct {
	read func(ctx context.Context) (order.Backlog, error)

	up, open, overdue, deadLetters, owed, oldestOwed *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	last  order.Backlog
	err   error
}

func newBacklog(read func(ctx context.Context) (order.Backlog, error)) *backlog {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &backlog{
		read: read,
		up:   desc("orderflow_database_up", "1 while the database answers within a second, else 0."),
		open: desc("orderflow_orders_open", "Orders that are not finished, of the whole installation, by status; counted up to 10,000.", "status"),
		overdue: desc("orderflow_orders_overdue_seconds",
			"How long the order that is due longest has been due, in the whole installation; 0 when none is."),
		deadLetters: desc("orderflow_failed_jobs", "Payments that wait for an operator, in the whole installation; counted up to 10,000."),
		owed: desc("orderflow_outbox_backlog",
			"Receipts of the whole installation that are not marked as published; counted up to 10,000."),
		oldestOwed: desc("orderflow_outbox_backlog_seconds", "Age of the oldest receipt that is not marked as published; 0 when there is none."),
	}
}

// Describe implements prometheus.Collector.
func (b *backlog) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.up, b.open, b.overdue, b.deadLetters, b.owed, b.oldestOwed} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (b *backlog) Collect(to chan<- prometheus.Metric) {
	now, err := b.look()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if err != nil {
		gauge(b.up, 0)
		return
	}
	gauge(b.up, 1)
	gauge(b.open, float64(now.Pending), "pending")
	gauge(b.open, float64(now.Processing), "processing")
	gauge(b.overdue, now.Overdue.Seconds())
	gauge(b.deadLetters, float64(now.FailedJobs))
	gauge(b.owed, float64(now.Unpublished))
	gauge(b.oldestOwed, now.OldestUnpublished.Seconds())
}

// look returns what the database said last, and asks it again when that is old. Who comes meanwhile waits for the answer.
func (b *backlog) look() (order.Backlog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked.IsZero() || time.Since(b.asked) >= backlogEvery {
		ctx, cancel := context.WithTimeout(context.Background(), backlogLimit) // a scrape hands down none
		defer cancel()
		b.last, b.err = b.read(ctx)
		b.asked = time.Now()
	}
	return b.last, b.err
}
