package api

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"orderflow/internal/order"
)

func (a *API) createOrder(x *requestContext) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	draft, err := a.readDraft(x)
	if err != nil {
		return err
	}
	if err := a.admitUser(x, draft.UserID); err != nil {
		return err
	}
	x.asked = true
	placed, err := a.options.Intake.Create(x.r.Context(), draft)
	if err == nil {
		err = placed.Err
	}
	if err != nil {
		x.logRefusal("an order was refused", "order.refused", err, slog.Int64("user_id", draft.UserID))
		return err
	}
	a.products.drop()
	status := http.StatusCreated
	h := x.Header()
	h["Location"] = []string{orderPath(placed.Order.ID)}
	if placed.Replayed {
		status = http.StatusOK
		h["Idempotent-Replayed"] = a.fixed.replayed
		x.logOrder("an order was asked for again", "order.replayed", placed.Order.ID, draft.UserID)
	} else {
		x.logOrder("an order was placed", "order.created", placed.Order.ID, draft.UserID)
	}
	x.order(status, placed.Order)
	return nil
}

// readDraft reads and checks the body of a request to order.
func (a *API) readDraft(x *requestContext) (order.Draft, error) {
	raw, err := x.readBody()
	if err != nil {
		return order.Draft{}, err
	}
	body, err := x.decodeOrder(raw)
	if err != nil {
		return order.Draft{}, err
	}
	body.merge(x.r.Header["Idempotency-Key"], &body.faults)
	draft, err := a.draft(x.r.Context(), &body, x.caller)
	if err != nil {
		return order.Draft{}, err
	}
	if draft.Actor = "user:" + strconv.FormatInt(draft.UserID, 10); x.caller.Admin {
		draft.Actor = x.caller.Actor()
	}
	draft.Trace = x.trace
	return draft, nil
}

func (a *API) cancelOrder(x *requestContext) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	id, err := pathID(x.r)
	if err != nil {
		return err
	}
	if !x.caller.Anonymous() && !x.caller.Admin { // an order's user never changes, so this may come before
		o, err := a.options.Reader.Order(x.r.Context(), id)
		if err == nil {
			err = x.own(id, o.UserID)
		}
		if err != nil {
			return err
		}
	}
	x.asked = true
	cancelled, err := a.options.Intake.Cancel(x.r.Context(), order.CancelRequest{OrderID: id, Actor: x.caller.Actor(), Trace: x.trace})
	if err != nil {
		x.logRefusal("a cancel was refused", "order.cancel_refused", err, slog.Int64("order_id", id))
		return err
	}
	a.dropProducts(x.r.Context())
	x.logOrder("an order was cancelled", "order.cancelled", cancelled.ID, cancelled.UserID)
	x.order(http.StatusOK, cancelled)
	return nil
}

func (a *API) showOrder(x *requestContext) error {
	id, err := pathID(x.r)
	if err != nil {
		return err
	}
	o, err := a.options.Reader.Order(x.r.Context(), id)
	if err == nil {
		err = x.own(id, o.UserID)
	}
	if err != nil {
		return err
	}
	x.order(http.StatusOK, o)
	return nil
}

// order answers with one order.
func (x *requestContext) order(status int, o *order.Order) {
	x.out = append(x.out[:0], `{"data":`...)
	x.out = appendOrder(x.out, o)
	x.out = append(x.out, '}', '\n')
	x.json(status, x.out)
}

// orderPath is an order's address.
func orderPath(id int64) string {
	var room [40]byte
	return string(strconv.AppendInt(append(room[:0], "/api/v1/orders/"...), id, 10))
}

// noOrder is the error for an order that does not exist, or not for this caller; the store says it in the same words.
func noOrder(id int64) error { return order.NotFound("Order " + strconv.FormatInt(id, 10)) }

// pathID returns the order's id in the path.
func pathID(r *http.Request) (int64, error) { return idInPath(r, "order") }

// idInPath returns the id in the path, of what is called so. What is no id names nothing, so the error carries
// CodeNotFound.
func idInPath(r *http.Request, what string) (int64, error) {
	text := r.PathValue("id")
	id, ok := parseID(text)
	if !ok {
		return 0, order.Errorf(order.CodeNotFound, "There is no %s with this id.", what)
	}
	return id, nil
}

// parseID reads an id as the API writes it: digits without a sign or leading zeros.
func parseID(text string) (int64, bool) {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return 0, false
	}
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil && order.ValidID(id)
}

// merge takes the idempotency key from the header where the body has none. Both may be there if they agree.
func (k *bodyKey) merge(header []string, faults *faults) {
	const field = "idempotency_key"
	switch {
	case len(header) == 0 && !k.keyed:
		faults.add(field, "is required, here or in the Idempotency-Key header")
	case len(header) == 0:
	case len(header) > 1:
		faults.add(field, "stands in more than one Idempotency-Key header")
	default:
		key, ok := parseKey(header[0])
		switch {
		case !ok:
			faults.add(field, "is malformed in the Idempotency-Key header: send plain text, or one quoted string")
		case !k.keyed:
			k.key = key
		case len((*faults)[field]) == 0 && k.key != key:
			faults.add(field, "differs from the Idempotency-Key header")
		}
	}
}

// parseKey reads the Idempotency-Key header: plain text, or a string of RFC 9651 (in quotes, which \ escapes).
func parseKey(value string) (key string, ok bool) {
	if !utf8.ValidString(value) {
		return "", false
	}
	quoted, isQuoted := strings.CutPrefix(value, `"`)
	if !isQuoted {
		return value, true
	}
	plain := make([]byte, 0, len(quoted))
	for i := 0; i < len(quoted); i++ {
		c := quoted[i]
		switch {
		case c == '"':
			return string(plain), i == len(quoted)-1
		case c == '\\' && i+1 < len(quoted) && (quoted[i+1] == '"' || quoted[i+1] == '\\'):
			i++
			plain = append(plain, quoted[i])
		case c == '\\' || c < ' ' || c > '~':
			return "", false
		default:
			plain = append(plain, c)
		}
	}
	return "", false
}

// logRefusal writes a line about a request that was refused: with the code, and with the product that is the reason.
func (x *requestContext) logRefusal(message, event string, err error, about slog.Attr) {
	logger, ctx := x.api.options.Logger, x.r.Context()
	if !logger.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{slog.String("event", event), slog.String("error", string(order.CodeOf(err))), about}
	if refusal, ok := errors.AsType[*order.Error](err); ok && refusal.ProductID != 0 {
		attrs = append(attrs, slog.Int64("product_id", refusal.ProductID))
		if refusal.Code == order.CodeInsufficientStock {
			attrs = append(attrs, slog.Int64("requested", refusal.Requested), slog.Int64("available", refusal.Available))
		}
	}
	logger.LogAttrs(ctx, slog.LevelInfo, message, append(attrs, slog.String("trace_id", x.trace.ID))...)
}

// orderRefused and cancelRefused count a refusal by the API itself.
func (a *API) orderRefused(err error)  { a.options.Intake.OrderRefused(err) }
func (a *API) cancelRefused(err error) { a.options.Intake.CancelRefused(err) }
