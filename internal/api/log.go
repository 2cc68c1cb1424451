package api

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// log writes a line about this request, with its error if there is one.
func (rc *requestContext) log(level slog.Level, message, event string, err error, more ...slog.Attr) {
	logger, ctx := rc.api.options.Logger, rc.r.Context()
	if !logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("event", event), slog.String("trace_id", rc.trace.ID),
		slog.String("method", rc.r.Method), slog.String("path", rc.r.URL.Path),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	logger.LogAttrs(ctx, level, message, append(attrs, more...)...)
}

// logOrder writes a line about an order that this request created, changed or found.
func (rc *requestContext) logOrder(message, event string, id, user int64) {
	logger, ctx := rc.api.options.Logger, rc.r.Context()
	if logger.Enabled(ctx, slog.LevelInfo) {
		logger.LogAttrs(ctx, slog.LevelInfo, message, slog.String("event", event),
			slog.Int64("order_id", id), slog.Int64("user_id", user), slog.String("trace_id", rc.trace.ID))
	}
}

// logRefusal writes a line about a refused request, with the code and, where a product is the reason, the product.
func (rc *requestContext) logRefusal(message, event string, err error, about slog.Attr) {
	logger, ctx := rc.api.options.Logger, rc.r.Context()
	if !logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{slog.String("event", event), slog.String("error", string(order.CodeOf(err))), about}
	if refused, ok := errors.AsType[*order.Error](err); ok && refused.ProductID != 0 {
		attrs = append(attrs, slog.Int64("product_id", refused.ProductID))
		if refused.Code == order.CodeInsufficientStock {
			attrs = append(attrs, slog.Int64("requested", refused.Requested), slog.Int64("available", refused.Available))
		}
	}
	logger.LogAttrs(ctx, slog.LevelInfo, message, append(attrs, slog.String("trace_id", rc.trace.ID))...)
}

// logAdmin writes a line about a change by an administrator.
func (rc *requestContext) logAdmin(message, event string, attrs ...slog.Attr) {
	rc.api.options.Logger.LogAttrs(rc.r.Context(), slog.LevelInfo, message, append([]slog.Attr{
		slog.String("event", event), slog.String("actor", rc.caller.Actor()), slog.String("trace_id", rc.trace.ID),
	}, attrs...)...)
}

// logToken writes a line about a log-in or log-out. It contains neither tokens nor e-mail addresses.
func (rc *requestContext) logToken(message, event string, caller order.Caller) {
	logger, ctx := rc.api.options.Logger, rc.r.Context()
	if logger.Enabled(ctx, slog.LevelInfo) {
		logger.LogAttrs(ctx, slog.LevelInfo, message, slog.String("event", event), slog.Int64("user_id", caller.UserID),
			slog.Int64("token_id", caller.TokenID), slog.String("trace_id", rc.trace.ID))
	}
}

// logLimiter allows one line a second where every request would write the same line.
type logLimiter struct{ last, dropped atomic.Int64 }

// allow reports whether a line may be written now, and how many lines were dropped since the last one.
func (l *logLimiter) allow(now time.Time) (dropped int64, allowed bool) {
	last := l.last.Load()
	if now.UnixNano()-last < int64(time.Second) || !l.last.CompareAndSwap(last, now.UnixNano()) {
		l.dropped.Add(1)
		return 0, false
	}
	return l.dropped.Swap(0), true
}
