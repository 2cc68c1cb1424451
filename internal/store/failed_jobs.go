package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

const jobColumns = "id, order_id, attempts, error, failed_at, resolved_at, resolution"

func scanJob(scan sqldb.Scan) (order.FailedJob, error) {
	var j order.FailedJob
	err := scan(&j.ID, &j.OrderID, &j.Attempts, &j.Error, sqldb.ScanTime(&j.FailedAt), sqldb.ScanTime(&j.ResolvedAt), &j.Resolution)
	return j, err
}

// FailedJobs returns up to limit failed jobs, newest first; with openOnly, those that wait for an operator.
func (s *Store) FailedJobs(ctx context.Context, openOnly bool, limit int) (jobs []order.FailedJob, err error) {
	where := ""
	if openOnly {
		where = " WHERE resolved_at IS NULL"
	}
	err = s.read(ctx, func(ctx context.Context) error {
		jobs = nil
		return s.query(ctx, func(scan sqldb.Scan) error {
			j, err := scanJob(scan)
			jobs = append(jobs, j)
			return err
		}, "SELECT "+jobColumns+" FROM failed_jobs"+where+" ORDER BY id DESC LIMIT ?", limit)
	})
	return jobs, err
}

// FailedJobPage returns a page of failed jobs, the open ones first, each kind newest first. Pages count from 1. It reads all of
// them: failed jobs are few, since charging stops while the gateway does not answer.
func (s *Store) FailedJobPage(ctx context.Context, page, perPage int) (found order.FailedJobPage, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		found = order.FailedJobPage{}
		err := s.query(ctx, func(scan sqldb.Scan) error {
			j, err := scanJob(scan)
			found.Jobs = append(found.Jobs, j)
			return err
		}, "SELECT "+jobColumns+" FROM failed_jobs ORDER BY CASE WHEN resolved_at IS NULL THEN 0 ELSE 1 END, id DESC LIMIT ? OFFSET ?",
			perPage, (page-1)*perPage)
		if err != nil {
			return err
		}
		return s.query(ctx, func(scan sqldb.Scan) error { return scan(&found.Total) }, "SELECT count(*) FROM failed_jobs")
	})
	return found, err
}

// FailedJob returns one failed job. The error carries CodeNotFound when there is none.
func (s *Store) FailedJob(ctx context.Context, id int64) (job order.FailedJob, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		var err error
		job, err = scanJob(s.db.Reader.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM failed_jobs WHERE id = ?", id).Scan)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = order.NotFound(fmt.Sprintf("Failed job %d", id))
	}
	return job, err
}

// FailedJobOrders is FailedJobPage with the orders of the failed jobs.
func (s *Store) FailedJobOrders(ctx context.Context, page, perPage int) (found order.FailedJobOrderPage, err error) {
	jobs, err := s.FailedJobPage(ctx, page, perPage)
	if err != nil {
		return order.FailedJobOrderPage{}, err
	}
	found = order.FailedJobOrderPage{Jobs: make([]order.FailedJobOrder, len(jobs.Jobs)), Total: jobs.Total}
	byOrder := make(map[int64]*order.FailedJobOrder, len(jobs.Jobs))
	ids := make([]int64, len(jobs.Jobs))
	for i, j := range jobs.Jobs {
		found.Jobs[i].FailedJob = j
		byOrder[j.OrderID], ids[i] = &found.Jobs[i], j.OrderID
	}
	err = s.read(ctx, func(ctx context.Context) error {
		return sqldb.Chunks(s.dialect, ids, func(padded []int64, _ int) error {
			return s.query(ctx, func(scan sqldb.Scan) error {
				var id int64
				var found order.FailedJobOrder
				err := scan(&id, &found.UserID, &found.Status, scanMoney{&found.Total}, &found.Currency)
				if job := byOrder[id]; job != nil {
					found.FailedJob = job.FailedJob
					*job = found
				}
				return err
			}, "SELECT id, user_id, status, total_amount, currency FROM orders WHERE id IN "+sqldb.Placeholders(len(padded)), sqldb.Anys(padded)...)
		})
	})
	return found, err
}

// writeFailedJobs opens failed jobs, then closes those that the same batch resolved. They are rare, so row by row.
func (t *tx) writeFailedJobs(effects *order.Effects) error {
	for _, job := range effects.FailedJobs {
		if err := t.openJob(job); err != nil {
			return err
		}
	}
	for _, r := range effects.Resolved {
		err := t.Enqueue(sqldb.AnyRows, "", "UPDATE failed_jobs SET resolution = ?, resolved_at = COALESCE(resolved_at, ?) WHERE order_id = ?",
			r.How, t.s.dialect.Time(t.Now), r.OrderID)
		if err != nil {
			return err
		}
	}
	return nil
}

// openJob opens an order's failed job, or reopens it under its id.
func (t *tx) openJob(job order.FailedJob) error {
	d := t.s.dialect
	result, err := t.Exec("UPDATE failed_jobs SET attempts = ?, error = ?, failed_at = ?, resolved_at = NULL, resolution = '' WHERE order_id = ?",
		job.Attempts, job.Error, d.Time(job.FailedAt), job.OrderID)
	if err != nil {
		return err
	}
	if known, err := result.RowsAffected(); err != nil || known > 0 {
		return err
	}
	return t.Enqueue(sqldb.AnyRows, "", "INSERT INTO failed_jobs (order_id, attempts, error, failed_at, resolution) VALUES (?, ?, ?, ?, '')",
		job.OrderID, job.Attempts, job.Error, d.Time(job.FailedAt))
}
