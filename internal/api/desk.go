package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// abandonTime is how long an abandoned order may keep its administrator waiting: the gateway's time-out, and then a
// database that comes back.
const abandonTime = 2 * time.Minute

func (a *API) listJobs(x *requestContext) error {
	query := x.query.paging()
	if err := x.query.faults.err(); err != nil {
		return err
	}
	page, err := a.options.Admin.FailedJobPage(x.r.Context(), query.Page, query.PerPage)
	if err != nil {
		return err
	}
	x.out = append(x.out[:0], `{"data":[`...)
	for i := range page.Jobs {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = appendJob(x.out, &page.Jobs[i])
	}
	x.out = append(x.out, `],"meta":`...)
	x.out = appendMeta(x.out, query, order.Page{Total: page.Total})
	x.out = append(x.out, '}', '\n')
	return x.jsonMade(x.out)
}

func appendJob(dst []byte, j *order.FailedJob) []byte {
	dst = append(dst, `{"id":`...)
	dst = strconv.AppendInt(dst, j.ID, 10)
	dst = append(dst, `,"order_id":`...)
	dst = strconv.AppendInt(dst, j.OrderID, 10)
	dst = append(dst, `,"attempts":`...)
	dst = strconv.AppendInt(dst, int64(j.Attempts), 10)
	dst = append(dst, `,"error":`...)
	dst = web.AppendString(dst, j.Error)
	dst = append(dst, `,"failed_at":`...)
	dst = appendTime(dst, j.FailedAt)
	dst = append(dst, `,"resolved_at":`...)
	dst = appendTime(dst, j.ResolvedAt)
	dst = append(dst, `,"resolution":`...)
	if j.Resolution == "" {
		dst = append(dst, `null`...)
	} else {
		dst = web.AppendString(dst, j.Resolution)
	}
	return append(dst, '}')
}

func (a *API) retryJob(x *requestContext) error {
	return a.dealWithJob(x, "a payment is tried again", "job.retried", func(ctx context.Context, id int64) (*order.Order, error) {
		return a.options.Desk.Retry(ctx, id)
	})
}

func (a *API) abandonJob(x *requestContext) error {
	web.ExtendDeadline(x.w, abandonTime)
	return a.dealWithJob(x, "an order was abandoned", "job.abandoned", func(ctx context.Context, id int64) (*order.Order, error) {
		return a.options.Desk.Abandon(ctx, id, x.caller.Actor())
	})
}

// dealWithJob has something done about a dead letter and answers with its order. The desk's order may lack its items, so it
// is read again.
func (a *API) dealWithJob(x *requestContext, message, event string, do func(ctx context.Context, jobID int64) (*order.Order, error)) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	id, err := idInPath(x.r, "failed job")
	if err != nil {
		return err
	}
	o, err := do(x.r.Context(), id)
	if err != nil {
		return err
	}
	x.logAdmin(message, event, slog.Int64("job_id", id), slog.Int64("order_id", o.ID))
	a.dropProducts(x.r.Context()) // an abandoned order's pieces are back
	if o, err = a.options.Reader.Order(x.r.Context(), o.ID); err != nil {
		return err
	}
	x.order(http.StatusOK, o)
	return nil
}
