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

// statusDisconnected is counted and logged for a caller that closed its side of the connection before the answer. It is never sent.
const statusDisconnected = 499

// fail answers with err. Errors whose text is for operators go to the log.
func (rc *requestContext) fail(err error) {
	if rc.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		if rc.status == 0 { // a caller that only closed its sending side reads this
			rc.Header()["Connection"] = rc.api.fixed.closes
			rc.error(errDisconnected())
		}
		return
	}
	if rc.status != 0 {
		// A part of the answer is sent. Only a broken connection shows the caller that it is incomplete.
		rc.log(slog.LevelError, "An answer was cut off by an error.", "request.cut_off", err)
		panic(http.ErrAbortHandler)
	}
	shown := rc.shown(err)
	if shown.Code == order.CodeOverloaded || shown.Code == order.CodeUnavailable {
		rc.Header().Set("Retry-After", "1")
	}
	if shown.Code == order.CodeUnauthenticated {
		rc.Header()["Www-Authenticate"] = rc.api.fixed.bearer
	}
	rc.error(shown)
}

// error answers with an error.
func (rc *requestContext) error(e *order.Error) {
	rc.out = web.AppendError(rc.out[:0], e, rc.trace.ID)
	rc.json(web.StatusOf(e.Code), rc.out)
}

func errDisconnected() *order.Error {
	return order.Errorf(order.CodeUnavailable, "The request was stopped because the client closed its side of the connection. "+
		"Keep the connection open until the answer.")
}

// shown returns the error that the caller sees for err.
func (rc *requestContext) shown(err error) *order.Error {
	coded, ok := errors.AsType[*order.Error](err)
	if !ok || web.StatusOf(coded.Code) == 0 || coded.Code == order.CodeInternal {
		rc.log(slog.LevelError, "A request failed.", "request.failed", err)
		return web.InternalError()
	}
	if coded.Code == order.CodeUnavailable {
		if dropped, allowed := rc.api.unavailable.allow(time.Now()); allowed {
			rc.log(slog.LevelWarn, "Requests are refused as unavailable; the error has the cause.", "request.unavailable", err,
				slog.Int64("unlogged", dropped))
		}
	}
	return coded
}
