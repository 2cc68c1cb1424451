package store

import (
	"context"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// statsLimit is the time limit of Stats.
const statsLimit = 20 * time.Second

// Stats counts orders, products, failed jobs and unpublished events. It counts all orders by the entries of one index: a quarter of
// a microsecond each on SQLite, two or three seconds for ten million, so callers keep the answer for a while. Due orders and
// unpublished events are counted by an index alone; products and failed jobs are few.
func (s *Store) Stats(ctx context.Context) (order.Stats, error) {
	stats := order.Stats{}
	err := coded(s.db.ReadWithin(ctx, statsLimit, func(ctx context.Context) (err error) {
		stats = order.Stats{ByStatus: map[order.Status]int64{}}
		for _, status := range order.Statuses() {
			stats.ByStatus[status] = 0
		}
		if stats.At, err = s.db.Clock(ctx); err != nil {
			return err
		}
		if err := s.countOrders(ctx, &stats); err != nil {
			return err
		}
		var oldest time.Time
		one := func(query string, targets ...any) error {
			return s.query(ctx, func(scan sqldb.Scan) error { return scan(targets...) }, query)
		}
		const unpublished = "SELECT count(*), min(created_at) FROM outbox WHERE published_at IS NULL"
		if err := one(unpublished, &stats.Unpublished, sqldb.ScanTime(&oldest)); err != nil {
			return err
		}
		if !oldest.IsZero() {
			stats.OldestUnpublished = max(0, stats.At.Sub(oldest))
		}
		if err := one("SELECT count(*) FROM failed_jobs WHERE resolved_at IS NULL", &stats.FailedJobs); err != nil {
			return err
		}
		return one("SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM products WHERE stock = 0)", &stats.Products, &stats.SoldOut)
	}))
	return stats, err
}

// countOrders counts the orders by status, and those that are due.
func (s *Store) countOrders(ctx context.Context, stats *order.Stats) error {
	err := s.query(ctx, func(scan sqldb.Scan) error {
		var status order.Status
		var orders int64
		err := scan(&status, &orders)
		stats.ByStatus[status] = orders
		return err
	}, "SELECT status, count(*) FROM orders GROUP BY status")
	if err != nil {
		return err
	}
	var first time.Time
	err = s.query(ctx, func(scan sqldb.Scan) error { return scan(&stats.Due, &stats.Overdue, sqldb.ScanTime(&first)) },
		"SELECT count(*), COALESCE(sum(CASE WHEN due_at <= ? THEN 1 ELSE 0 END), 0), min(due_at) FROM orders "+
			"WHERE status IN (?, ?, ?) AND due_at IS NOT NULL",
		s.dialect.Time(stats.At), string(order.Pending), string(order.Processing), string(order.Failed))
	if stats.Overdue > 0 {
		stats.LongestOverdue = max(0, stats.At.Sub(first))
	}
	return err
}
