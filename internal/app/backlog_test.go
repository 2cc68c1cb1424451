package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderflow/internal/order"
)

// The database is queried at most every five seconds, for at most a second. While it does not answer, its figures are missing.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queries, frozen := 0, false
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(newBacklog(func(ctx context.Context) (order.Backlog, error) {
			queries++
			if frozen {
				<-ctx.Done()
				return order.Backlog{}, errors.New("no answer")
			}
			return order.Backlog{
				Pending: queries, Processing: 2, FailedJobs: 3, Overdue: 4 * time.Second, Unpublished: 5, OldestUnpublished: 1500 * time.Millisecond,
			}, nil
		}))
		want := func(series string) {
			t.Helper()
			if err := testutil.GatherAndCompare(registry, strings.NewReader(series), "orderflow_database_up", "orderflow_orders_open",
				"orderflow_orders_overdue_seconds", "orderflow_failed_jobs", "orderflow_outbox_backlog_seconds"); err != nil {
				t.Error(err)
			}
		}
		const up = "# HELP orderflow_database_up 1 while the database answers within a second, else 0.\n# TYPE orderflow_database_up gauge\n" +
			"orderflow_database_up "
		first := up + `1
# HELP orderflow_failed_jobs Open failed jobs of the whole installation; counted up to 10,000.
# TYPE orderflow_failed_jobs gauge
orderflow_failed_jobs 3
# HELP orderflow_orders_open Unfinished orders of the whole installation, by status; counted up to 10,000.
# TYPE orderflow_orders_open gauge
orderflow_orders_open{status="pending"} 1
orderflow_orders_open{status="processing"} 2
# HELP orderflow_orders_overdue_seconds Age of the oldest due time in the whole installation; 0 when no order is due.
# TYPE orderflow_orders_overdue_seconds gauge
orderflow_orders_overdue_seconds 4
# HELP orderflow_outbox_backlog_seconds Age of the oldest outbox row that is not marked as published; 0 when there is none.
# TYPE orderflow_outbox_backlog_seconds gauge
orderflow_outbox_backlog_seconds 1.5
`
		want(first)
		time.Sleep(backlogInterval - time.Nanosecond)
		want(first)
		frozen = true
		time.Sleep(time.Nanosecond)
		before := time.Now()
		want(up + "0\n")
		if took := time.Since(before); took != backlogTimeout {
			t.Errorf("a database that does not answer delays a scrape for %s", took)
		}
		if queries != 2 {
			t.Errorf("%d queries, want 2", queries)
		}
	})
}
