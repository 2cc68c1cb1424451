package worker

import (
	"context"
	"log/slog"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// settleRetries is how often a settlement is retried after an error that does not look transient.
const settleRetries = 4

// process calls the gateway for a claim and settles the outcome. During a shutdown it hands the claim back instead.
func (w *Worker) process(ctx, drainCtx context.Context, a *admission, claimed order.Claimed) {
	s := settlement(claimed, w.options.Node)
	span := w.options.Tracer.ChildOf(s.Trace.Parent, "process", tracing.Internal)
	defer span.End(nil)
	s.Trace.Parent = span.Parent(s.Trace.Parent) // later spans of the order are its children
	a.admitted.Add(-1)
	if ctx.Err() != nil {
		s.Outcome = order.HandedBack
	} else {
		start := time.Now()
		w.caller.call(span.In(drainCtx), claimed.Order, &s)
		if s.Outcome != order.HandedBack {
			w.metrics.latency.WithLabelValues(string(s.Kind), string(s.Outcome)).Observe(time.Since(start).Seconds())
		}
	}
	w.metrics.calls.WithLabelValues(string(s.Kind), string(s.Outcome)).Inc()
	w.settle(drainCtx, s)
}

// settle records the outcome of a call. It keeps trying while the database is unavailable, so that the outcome is not lost. If the
// process ends before, the lease expires and the same charge is repeated.
func (w *Worker) settle(drainCtx context.Context, s order.Settlement) {
	commits := context.WithoutCancel(drainCtx) // the batcher answers every request, so this wait ends by itself
	pause := firstPause
	for retries := 0; ; retries++ {
		changed, err := w.settles.Do(commits, s)
		if err == nil {
			w.reportSettled(commits, s, changed.Order)
			return
		}
		if drainCtx.Err() != nil || (retries >= settleRetries && !transient(err)) {
			w.options.Logger.ErrorContext(commits,
				"The outcome of a payment could not be recorded. When the lease has expired, the call is repeated with the same key.",
				"event", "payment.settle_failed", "order_id", s.OrderID, "trace_id", s.Trace.ID, "attempt", s.Claim,
				"kind", string(s.Kind), "outcome", string(s.Outcome), "error", err.Error())
			w.metrics.unsettled.Inc()
			return
		}
		if retries == 0 {
			w.options.Logger.WarnContext(commits, "The outcome of a payment cannot be recorded at the moment. The worker keeps trying.",
				"event", "payment.settle_delayed", "order_id", s.OrderID, "trace_id", s.Trace.ID, "error", err.Error())
		}
		w.sleep(drainCtx, pause)
		pause = min(2*pause, lastPause)
	}
}

// reportSettled logs and counts a settlement, and sets the sweeper's timer if the order is due again.
func (w *Worker) reportSettled(ctx context.Context, s order.Settlement, o *order.Order) {
	level, message, event := slog.LevelDebug, "A settlement changed nothing.", "payment.settled"
	switch {
	case s.Outcome == order.HandedBack:
		event, message = "payment.handed_back", "A claim was handed back. The gateway was not called."
	case s.Outcome == order.NoAnswer && o.Status == order.Processing && o.DueAt.IsZero():
		w.metrics.failedJobs.Inc()
		level, event, message = slog.LevelError, "failed_job.created", "A payment used up its attempts. Retry or abandon the failed job."
	case s.Outcome == order.NoAnswer:
		w.admissionOf(s.Kind).sweepTimer.set(o.DueAt)
		level, event, message = slog.LevelWarn, "payment.unanswered", "The gateway did not answer. The payment will be attempted again."
	case s.Kind == order.KindVoid:
		level, event, message = slog.LevelWarn, "payment.voided", "A late charge was voided."
	case o.Status == order.Failed && s.Outcome == order.Succeeded:
		w.voids.sweepTimer.set(o.DueAt)
		level, event, message = slog.LevelWarn, "payment.charged_late", "A charge succeeded after its order had failed. It will be voided."
	case o.Status == order.Paid:
		level, event, message = slog.LevelInfo, "order.paid", "Order paid."
	case o.Status == order.Failed:
		level, event, message = slog.LevelInfo, "order.failed", "Order failed."
	}
	log := w.options.Logger
	if !log.Enabled(ctx, level) {
		return
	}
	log.LogAttrs(ctx, level, message,
		slog.String("event", event), slog.Int64("order_id", o.ID), slog.Int64("user_id", o.UserID),
		slog.String("trace_id", s.Trace.ID), slog.Int("attempt", s.Claim), slog.String("outcome", string(s.Outcome)),
		slog.String("reason", s.Reason))
}
