package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

const (
	// statsAge is how old the figures may be: all orders are counted for them.
	statsAge = 5 * time.Second
	// auditTime is how long an audit over HTTP may take; the command line has more patience.
	auditTime = 10 * time.Minute
)

func (a *API) showStats(x *requestContext) error {
	body, err := a.stats.get(x.r.Context())
	if err != nil {
		return err
	}
	return x.jsonMade(body)
}

// loadStats counts the figures and returns the answer to everybody who asks for them.
func (a *API) loadStats(ctx context.Context) ([]byte, error) {
	stats, err := a.options.Admin.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return append(appendStats(nil, &stats), '\n'), nil
}

func appendStats(dst []byte, s *order.Stats) []byte {
	number := func(name string, n int64) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	total := int64(0)
	for _, n := range s.ByStatus {
		total += n
	}
	number(`{"data":{"orders":{"total":`, total)
	dst = append(dst, `,"by_status":{`...)
	for i, status := range order.Statuses() {
		if i > 0 {
			dst = append(dst, ',')
		}
		number(`"`+string(status)+`":`, s.ByStatus[status])
	}
	number(`},"due":`, s.Due)
	number(`,"overdue":`, s.Overdue)
	number(`,"longest_overdue_ms":`, s.LongestOverdue.Milliseconds())
	number(`},"failed_jobs":{"open":`, s.FailedJobs)
	number(`},"outbox":{"unpublished":`, s.Unpublished)
	number(`,"owed":`, s.Unpublished) // the former name
	number(`,"oldest_ms":`, s.OldestUnpublished.Milliseconds())
	number(`},"products":{"total":`, s.Products)
	number(`,"sold_out":`, s.SoldOut)
	dst = append(dst, `},"timestamp":`...)
	dst = appendTime(dst, s.At)
	return append(dst, '}', '}')
}

// Why an audit ends before its time.
var (
	errAuditTime  = order.Errorf(order.CodeUnavailable, "The audit took longer than %s. Run orderflow audit beside the server.", auditTime)
	errAuditDrain = order.Errorf(order.CodeUnavailable, "The server is shutting down. Ask another one for the audit.")
)

// runAudit proves the books. It reads every order, so one at a time is enough.
func (a *API) runAudit(x *requestContext) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	if !a.auditing.CompareAndSwap(false, true) {
		return order.Errorf(order.CodeOverloaded, "An audit is running. Try again when it has ended.")
	}
	defer a.auditing.Store(false)
	web.ExtendDeadline(x.w, auditTime)
	limited, cancel := context.WithTimeoutCause(x.r.Context(), auditTime, errAuditTime)
	defer cancel()
	ctx, end := context.WithCancelCause(limited)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-a.waker.ended:
			end(errAuditDrain)
		case <-ctx.Done():
		}
	}()
	var report bytes.Buffer
	err := a.options.Auditor.WriteAudit(ctx, &report)
	end(nil)
	<-watched
	if cause, ok := errors.AsType[*order.Error](context.Cause(ctx)); ok && err != nil {
		return cause
	}
	if err != nil {
		return err
	}
	x.json(http.StatusOK, report.Bytes())
	return nil
}
