package store

import (
	"context"
	"strings"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// Backlog counts waiting orders, failed jobs and unpublished events. It reads only the index entries that it counts, up to
// order.BacklogMax, so its cost does not depend on the number of orders.
func (s *Store) Backlog(ctx context.Context) (b order.Backlog, err error) {
	if err := s.db.CheckFile(); err != nil {
		return b, coded(err) // the metric of database health comes from here
	}
	err = s.read(ctx, func(ctx context.Context) error {
		now, err := s.db.Clock(ctx)
		if err != nil {
			return err
		}
		pending, processing, failed, at := string(order.Pending), string(order.Processing), string(order.Failed), s.dialect.Time(now)
		var due [3]time.Time // pending, processing, failed
		var oldest time.Time
		err = s.query(ctx, func(scan sqldb.Scan) error {
			return scan(&b.Pending, &b.Processing, &b.FailedJobs, sqldb.ScanTime(&due[0]), sqldb.ScanTime(&due[1]), sqldb.ScanTime(&due[2]),
				&b.Unpublished, sqldb.ScanTime(&oldest))
		}, backlogQuery, pending, order.BacklogMax, processing, order.BacklogMax, processing, order.BacklogMax,
			pending, at, processing, at, failed, at, order.BacklogMax)
		b.Overdue, b.OldestUnpublished = 0, since(oldest, now)
		for _, first := range due {
			b.Overdue = max(b.Overdue, since(first, now))
		}
		return err
	})
	return b, err
}

// since is how long ago a time was; 0 for the zero time and for a time in the future.
func since(t, now time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t))
}

// backlogQuery returns one row. It counts failed jobs as orders in PROCESSING that are not due, by an index: the table of failed
// jobs would have to be read with all that were ever resolved.
var backlogQuery = func() string { //nolint:gochecknoglobals // a text that nobody changes
	count := func(from string) string { return "(SELECT count(*) FROM (SELECT 1 FROM " + from + " LIMIT ?) n)" }
	first := "(SELECT due_at FROM orders WHERE status = ? AND due_at <= ? ORDER BY due_at LIMIT 1)"
	return "SELECT " + strings.Join([]string{
		count("orders WHERE status = ?"),
		count("orders WHERE status = ? AND due_at IS NOT NULL"),
		count("orders WHERE status = ? AND due_at IS NULL"),
		first, first, first,
		count("outbox WHERE published_at IS NULL"),
		"(SELECT min(created_at) FROM outbox WHERE published_at IS NULL)",
	}, ", ")
}()
