package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"orderflow/internal/order"
)

const jobColumns = "id, order_id, attempts, error, failed_at, resolved_at, resolution"

func scanJob(scan func(...any) error) (order.FailedJob, error) {
	var j order.FailedJob
	err := scan(&j.ID, &j.OrderID, &j.Attempts, &j.Error, scanTime{&j.FailedAt}, scanTime{&j.ResolvedAt}, &j.Resolution)
	return j, err
}

// FailedJobs returns up to limit dead letters, newest first; with openOnly, those that wait for an operator.
func (s *Store) FailedJobs(ctx context.Context, openOnly bool, limit int) (jobs []order.FailedJob, err error) {
	where := ""
	if openOnly {
		where = " WHERE resolved_at IS NULL"
	}
	err = s.read(ctx, func(ctx context.Context) error {
		jobs = nil
		return s.query(ctx, func(scan func(...any) error) error {
			j, err := scanJob(scan)
			jobs = append(jobs, j)
			return err
		}, "SELECT "+jobColumns+" FROM failed_jobs"+where+" ORDER BY id DESC LIMIT ?", limit)
	})
	return jobs, err
}

// FailedJobPage returns a page of dead letters, the open ones first, each kind newest first. Pages count from 1. It goes through
// all of them: dead letters are few, since a gateway that is away stops the charging.
func (s *Store) FailedJobPage(ctx context.Context, page, perPage int) (found order.FailedJobPage, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		found = order.FailedJobPage{}
		err := s.query(ctx, func(scan func(...any) error) error {
			j, err := scanJob(scan)
			found.Jobs = append(found.Jobs, j)
			return err
		}, "SELECT "+jobColumns+" FROM failed_jobs ORDER BY CASE WHEN resolved_at IS NULL THEN 0 ELSE 1 END, id DESC LIMIT ? OFFSET ?",
			perPage, (page-1)*perPage)
		if err != nil {
			return err
		}
		return s.query(ctx, func(scan func(...any) error) error { return scan(&found.Total) }, "SELECT count(*) FROM failed_jobs")
	})
	return found, err
}

// FailedJob returns one dead letter. The error carries CodeNotFound when there is none.
func (s *Store) FailedJob(ctx context.Context, id int64) (job order.FailedJob, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		var err error
		job, err = scanJob(s.reader.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM failed_jobs WHERE id = ?", id).Scan)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = order.NotFound(fmt.Sprintf("Failed job %d", id))
	}
	return job, err
}
