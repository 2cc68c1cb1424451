package api

import (
	"log/slog"
	"net/http"
	"strconv"

	"orderflow/internal/order"
)

// createOrder is POST /orders; the package comment lists the files on its path.
func (a *API) createOrder(rc *requestContext) error {
	draft, err := a.readDraft(rc)
	if err != nil {
		return err
	}
	if err := mayActFor(rc.caller, draft.UserID); err != nil {
		return err
	}
	if err := a.allowUser(rc, draft.UserID); err != nil {
		return err
	}
	rc.submitted = true
	placed, err := a.options.Intake.Create(rc.r.Context(), draft)
	if err == nil {
		err = placed.Err
	}
	if err != nil {
		rc.logRefusal("An order was refused.", "order.refused", err, slog.Int64("user_id", draft.UserID))
		return err
	}
	a.products.invalidate()
	status := http.StatusCreated
	h := rc.Header()
	h["Location"] = []string{orderPath(placed.Order.ID)}
	if placed.Replayed {
		status = http.StatusOK
		h["Idempotent-Replayed"] = a.fixed.replayed
		rc.logOrder("A repeated request got the existing order.", "order.replayed", placed.Order.ID, draft.UserID)
	} else {
		rc.logOrder("An order was created.", "order.created", placed.Order.ID, draft.UserID)
	}
	rc.order(status, placed.Order)
	return nil
}

func (a *API) cancelOrder(rc *requestContext) error {
	id, err := pathID(rc.r, "order")
	if err != nil {
		return err
	}
	if !rc.caller.Anonymous() && !rc.caller.Admin { // the user of an order never changes, so it may be checked before
		if _, err := a.visibleOrder(rc, id); err != nil {
			return err
		}
	}
	rc.submitted = true
	cancelled, err := a.options.Intake.Cancel(rc.r.Context(), order.CancelRequest{OrderID: id, Actor: rc.caller.Actor(), Trace: rc.trace})
	if err != nil {
		rc.logRefusal("The cancellation of an order was refused.", "order.cancel_refused", err, slog.Int64("order_id", id))
		return err
	}
	a.invalidateProducts(rc.r.Context())
	rc.logOrder("An order was cancelled.", "order.cancelled", cancelled.ID, cancelled.UserID)
	rc.order(http.StatusOK, cancelled)
	return nil
}

func (a *API) showOrder(rc *requestContext) error {
	id, err := pathID(rc.r, "order")
	if err != nil {
		return err
	}
	o, err := a.visibleOrder(rc, id)
	if err != nil {
		return err
	}
	rc.order(http.StatusOK, o)
	return nil
}

// visibleOrder returns an order, or CodeNotFound when it does not exist or the caller may not see it.
func (a *API) visibleOrder(rc *requestContext, id int64) (*order.Order, error) {
	o, err := a.options.Reader.Order(rc.r.Context(), id)
	if err == nil {
		err = rc.checkVisible(id, o.UserID)
	}
	return o, err
}

// order answers with one order.
func (rc *requestContext) order(status int, o *order.Order) {
	rc.out = append(rc.out[:0], `{"data":`...)
	rc.out = appendOrder(rc.out, o)
	rc.out = append(rc.out, '}', '\n')
	rc.json(status, rc.out)
}

// orderPath returns the address of an order.
func orderPath(id int64) string {
	var buffer [40]byte
	return string(strconv.AppendInt(append(buffer[:0], "/api/v1/orders/"...), id, 10))
}

// pathID returns the id in the path of a resource of this name. An invalid id names nothing, so the error carries CodeNotFound.
func pathID(r *http.Request, resource string) (int64, error) {
	id, ok := parseID(r.PathValue("id"))
	if !ok {
		return 0, order.Errorf(order.CodeNotFound, "No %s has this id.", resource)
	}
	return id, nil
}

// parseID parses an id as the API writes it: digits without a sign or leading zeros.
func parseID(text string) (int64, bool) {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return 0, false
	}
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil && order.ValidID(id)
}
