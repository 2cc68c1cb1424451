package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// statusGone is counted and logged for a caller that closed its side of the connection before the answer. It is never sent.
const statusGone = 499

// fail answers with err. What the caller may not know goes to the log.
func (x *requestContext) fail(err error) {
	if x.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		if x.status == 0 { // a caller that only closed its sending side reads this
			x.Header()["Connection"] = x.api.fixed.closes
			x.out = web.AppendError(x.out[:0], errCallerLeft(), x.trace.ID)
			x.json(web.StatusOf(order.CodeUnavailable), x.out)
		}
		return
	}
	if x.status != 0 {
		// Half an answer is out and cannot be taken back: cutting the connection is the only way to say so.
		x.log(slog.LevelError, "an answer broke off", "request.broken", err)
		panic(http.ErrAbortHandler)
	}
	shown := x.shown(err)
	if shown.Code == order.CodeOverloaded || shown.Code == order.CodeUnavailable {
		x.Header().Set("Retry-After", "1")
	}
	if shown.Code == order.CodeUnauthenticated {
		x.Header()["Www-Authenticate"] = x.api.fixed.bearer
	}
	x.out = web.AppendError(x.out[:0], shown, x.trace.ID)
	x.json(web.StatusOf(shown.Code), x.out)
}

func errCallerLeft() *order.Error {
	return order.Errorf(order.CodeUnavailable, "The work was ended, because the caller closed its side of the connection. Keep it open.")
}

// shown is the part of err that the caller sees.
func (x *requestContext) shown(err error) *order.Error {
	var coded *order.Error
	if errors.As(err, &coded) && web.StatusOf(coded.Code) != 0 && coded.Code != order.CodeInternal {
		if coded.Code == order.CodeUnavailable {
			if more, due := x.api.unavailable.due(time.Now()); due {
				x.log(slog.LevelWarn, "requests are refused as unavailable; the error says why", "request.unavailable", err,
					slog.Int64("unlogged", more))
			}
		}
		return coded
	}
	x.log(slog.LevelError, "a request failed", "request.failed", err)
	return web.InternalError()
}
