package app

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

const (
	backlogInterval = 5 * time.Second // least time between two queries, however often the metrics are scraped
	backlogTimeout  = time.Second     // of the query, so that a database that does not answer does not delay a scrape for long
)

// backlog collects the metrics that are queried from the database. They are queried during a scrape and cached, so that the path of an order
// does not pay for them. While the database does not answer, orderflow_database_up is 0 and the others are missing.
type backlog struct {
	read func(ctx context.Context) (order.Backlog, error)

	up, open, overdue, failedJobs, unpublished, oldest *prometheus.Desc

	mu      sync.Mutex
	queried time.Time
	last    order.Backlog
	err     error
}

func newBacklog(read func(ctx context.Context) (order.Backlog, error)) *backlog {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &backlog{
		read: read,
		up:   desc("orderflow_database_up", "1 while the database answers within a second, else 0."),
		open: desc("orderflow_orders_open", "Unfinished orders of the whole installation, by status; counted up to 10,000.", "status"),
		overdue: desc("orderflow_orders_overdue_seconds",
			"Age of the oldest due time in the whole installation; 0 when no order is due."),
		failedJobs: desc("orderflow_failed_jobs", "Open failed jobs of the whole installation; counted up to 10,000."),
		unpublished: desc("orderflow_outbox_backlog",
			"Outbox rows of the whole installation that are not marked as published; counted up to 10,000."),
		oldest: desc("orderflow_outbox_backlog_seconds", "Age of the oldest outbox row that is not marked as published; 0 when there is none."),
	}
}

// Describe implements prometheus.Collector.
func (b *backlog) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.up, b.open, b.overdue, b.failedJobs, b.unpublished, b.oldest} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (b *backlog) Collect(to chan<- prometheus.Metric) {
	now, err := b.query()
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
	gauge(b.failedJobs, float64(now.FailedJobs))
	gauge(b.unpublished, float64(now.Unpublished))
	gauge(b.oldest, now.OldestUnpublished.Seconds())
}

// query returns the cached figures, and queries the database when they are old. Concurrent callers share a query.
func (b *backlog) query() (order.Backlog, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queried.IsZero() || time.Since(b.queried) >= backlogInterval {
		ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout) // a collector has no context
		defer cancel()
		b.last, b.err = b.read(ctx)
		b.queried = time.Now()
	}
	return b.last, b.err
}
