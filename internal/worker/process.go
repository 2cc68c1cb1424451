package worker

import (
	"context"
	"log/slog"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// settleTries is how often a settlement is tried whose failure does not look like one that passes.
const settleTries = 5

// process carries a claim to its end: ask the gateway, settle. A claim that a shutdown overtook is handed back.
func (w *Worker) process(ctx, life context.Context, a *admission, claimed order.Claimed) {
	s := settlement(claimed, w.options.Node)
	span := w.options.Tracer.ChildOf(s.Trace.Parent, "process", tracing.Internal)
	defer span.End(nil)
	s.Trace.Parent = span.Parent(s.Trace.Parent) // what comes of the order from now on stands below it
	a.entering.Add(-1)
	if ctx.Err() != nil {
		s.Outcome = order.HandedBack
	} else {
		start := time.Now()
		w.caller.call(span.In(life), claimed.Order, &s)
		if s.Outcome != order.HandedBack {
			w.metrics.latency.WithLabelValues(string(s.Kind), string(s.Outcome)).Observe(time.Since(start).Seconds())
		}
	}
	w.metrics.calls.WithLabelValues(string(s.Kind), string(s.Outcome)).Inc()
	w.settle(life, s)
}

// settle records an answer. It keeps trying while the database is away, so that the answer is not lost; should the
// process end before, the lease runs out and the same charge is asked for again.
func (w *Worker) settle(life context.Context, s order.Settlement) {
	commits := context.WithoutCancel(life) // who is let in is answered, so this wait ends by itself
	pause := firstPause
	for try := 1; ; try++ {
		changed, err := w.settles.Do(commits, s)
		if err == nil {
			w.settled(commits, s, changed.Order)
			return
		}
		if life.Err() != nil || (try >= settleTries && !transient(err)) {
			w.options.Logger.ErrorContext(commits,
				"A payment's outcome could not be recorded; its lease runs out, and the gateway is asked again with the same key.",
				"event", "payment.settle_failed", "order_id", s.OrderID, "trace_id", s.Trace.ID, "attempt", s.Claim,
				"kind", string(s.Kind), "outcome", string(s.Outcome), "error", err.Error())
			w.metrics.unsettled.Inc()
			return
		}
		if try == 1 {
			w.options.Logger.WarnContext(commits, "A payment's outcome cannot be recorded now; trying again until it can.",
				"event", "payment.settle_delayed", "order_id", s.OrderID, "trace_id", s.Trace.ID, "error", err.Error())
		}
		w.sleep(life, pause)
		pause = min(2*pause, lastPause)
	}
}

// settled tells logs and metrics what became of the order, and the sweeper when to look at it again.
func (w *Worker) settled(ctx context.Context, s order.Settlement, o *order.Order) {
	level, message, event := slog.LevelDebug, "A settlement changed nothing more.", "payment.settled"
	switch {
	case s.Outcome == order.HandedBack:
		event, message = "payment.handed_back", "A claim was handed back; the gateway was not called."
	case s.Outcome == order.NoAnswer && o.Status == order.Processing && o.DueAt.IsZero():
		w.metrics.deadLetters.Inc()
		level, event, message = slog.LevelError, "payment.dead_lettered", "A payment used up its tries; an operator has to retry or abandon it."
	case s.Outcome == order.NoAnswer:
		w.admissionOf(s.Kind).alarm.set(o.DueAt)
		level, event, message = slog.LevelWarn, "payment.no_answer", "The gateway gave no answer; the order is tried again."
	case s.Kind == order.KindVoid:
		level, event, message = slog.LevelWarn, "payment.voided", "A charge that came too late was voided."
	case o.Status == order.Failed && s.Outcome == order.Succeeded:
		w.voids.alarm.set(o.DueAt)
		level, event, message = slog.LevelWarn, "payment.late_charge", "A charge succeeded after its order had failed; it will be voided."
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
