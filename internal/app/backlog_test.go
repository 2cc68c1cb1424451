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

// The database is asked at most every five seconds and for a second at most; while it does not answer, its figures are
// missing rather than old.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, frozen := 0, false
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(newBacklog(func(ctx context.Context) (order.Backlog, error) {
			asked++
			if frozen {
				<-ctx.Done()
				return order.Backlog{}, errors.New("no answer")
			}
			return order.Backlog{
				Pending: asked, Processing: 2, FailedJobs: 3, Overdue: 4 * time.Second, Unpublished: 5, OldestUnpublished: 1500 * time.Millisecond,
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
# HELP orderflow_failed_jobs Payments that wait for an operator, in the whole installation; counted up to 10,000.
# TYPE orderflow_failed_jobs gauge
orderflow_failed_jobs 3
# HELP orderflow_orders_open Orders that are not finished, of the whole installation, by status; counted up to 10,000.
# TYPE orderflow_orders_open gauge
orderflow_orders_open{status="pending"} 1
orderflow_orders_open{status="processing"} 2
# HELP orderflow_orders_overdue_seconds How long the order that is due longest has been due, in the whole installation; 0 when none is.
# TYPE orderflow_orders_overdue_seconds gauge
orderflow_orders_overdue_seconds 4
# HELP orderflow_outbox_backlog_seconds Age of the oldest receipt that is not marked as published; 0 when there is none.
# TYPE orderflow_outbox_backlog_seconds gauge
orderflow_outbox_backlog_seconds 1.5
`
		want(first)
		time.Sleep(backlogEvery - time.Nanosecond)
		want(first)
		frozen = true
		time.Sleep(time.Nanosecond)
		before := time.Now()
		want(up + "0\n")
		if took := time.Since(before); took != backlogLimit {
			t.Errorf("a database that does not answer holds a scrape up for %s", took)
		}
		if asked != 2 {
			t.Errorf("asked %d times, want 2", asked)
		}
	})
}
