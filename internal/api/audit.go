package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Auditor verifies the invariants. WriteAudit writes its report as JSON, whether or not they hold.
type Auditor interface {
	WriteAudit(ctx context.Context, w io.Writer) error
}

// auditTime is how long an audit over HTTP may take; that of the command line has no limit.
const auditTime = 10 * time.Minute

// Causes that end an audit early.
var (
	errAuditTime  = order.Errorf(order.CodeUnavailable, "The audit took longer than %s. Run the command orderflow audit instead.", auditTime)
	errAuditDrain = order.Errorf(order.CodeUnavailable, "The server is shutting down. Send the request to another server.")
)

// runAudit runs the audit. It reads every order, so only one runs at a time.
func (a *API) runAudit(rc *requestContext) error {
	if !a.auditing.CompareAndSwap(false, true) {
		return order.Errorf(order.CodeOverloaded, "An audit is running already. Try again when it has ended.")
	}
	defer a.auditing.Store(false)
	web.ExtendDeadline(rc.w, auditTime)
	limited, cancel := context.WithTimeoutCause(rc.r.Context(), auditTime, errAuditTime)
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
	rc.json(http.StatusOK, report.Bytes())
	return nil
}
