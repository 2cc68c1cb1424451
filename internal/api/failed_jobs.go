package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// FailedJobService resolves failed jobs. The errors have the codes of worker.FailedJobService. Abandon completes what it has begun,
// also when ctx ends meanwhile.
type FailedJobService interface {
	Retry(ctx context.Context, jobID int64) (*order.Order, error)
	Abandon(ctx context.Context, jobID int64, operator string) (*order.Order, error)
}

// abandonTime is how long the answer to an abandon may take: the time-out of the gateway, and then a database that reconnects.
const abandonTime = 2 * time.Minute

// failedJobJSON is a failed job as answers show it.
type failedJobJSON struct {
	ID         int64     `json:"id"`
	OrderID    int64     `json:"order_id"`
	Attempts   int       `json:"attempts"`
	Error      string    `json:"error"`
	FailedAt   timestamp `json:"failed_at"`
	ResolvedAt timestamp `json:"resolved_at"`
	Resolution *string   `json:"resolution"`
}

// failedJobsJSON is a page of failed jobs.
type failedJobsJSON struct {
	Data []failedJobJSON `json:"data"`
	Meta jsontext.Value  `json:"meta"`
}

func (a *API) listFailedJobs(rc *requestContext) error {
	query := rc.query.paging()
	if err := rc.query.errors.Err(); err != nil {
		return err
	}
	page, err := a.options.Admin.FailedJobPage(rc.r.Context(), query.Page, query.PerPage)
	if err != nil {
		return err
	}
	list := failedJobsJSON{Data: make([]failedJobJSON, len(page.Jobs)), Meta: appendMeta(nil, query, order.Page{Total: page.Total})}
	for i, j := range page.Jobs {
		list.Data[i] = failedJobJSON{j.ID, j.OrderID, j.Attempts, j.Error, timestamp(j.FailedAt), timestamp(j.ResolvedAt), nil}
		if j.Resolution != "" {
			list.Data[i].Resolution = &j.Resolution
		}
	}
	return rc.value(http.StatusOK, list)
}

func (a *API) retryFailedJob(rc *requestContext) error {
	return a.resolveFailedJob(rc, "A failed job is retried.", "failed_job.retried", a.options.FailedJobs.Retry)
}

func (a *API) abandonFailedJob(rc *requestContext) error {
	web.ExtendDeadline(rc.w, abandonTime)
	return a.resolveFailedJob(rc, "A failed job was abandoned.", "failed_job.abandoned", func(ctx context.Context, id int64) (*order.Order, error) {
		return a.options.FailedJobs.Abandon(ctx, id, rc.caller.Actor())
	})
}

// resolveFailedJob resolves a failed job and answers with its order.
func (a *API) resolveFailedJob(
	rc *requestContext, message, event string, resolve func(ctx context.Context, jobID int64) (*order.Order, error),
) error {
	id, err := pathID(rc.r, "failed job")
	if err != nil {
		return err
	}
	o, err := resolve(rc.r.Context(), id)
	if err != nil {
		return err
	}
	rc.logAdmin(message, event, slog.Int64("job_id", id), slog.Int64("order_id", o.ID))
	a.invalidateProducts(rc.r.Context())                                   // the units of an abandoned order are back in stock
	if o, err = a.options.Reader.Order(rc.r.Context(), o.ID); err != nil { // the service may return it without items
		return err
	}
	rc.order(http.StatusOK, o)
	return nil
}
