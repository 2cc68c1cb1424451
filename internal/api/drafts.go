package api

import (
	"context"
	"errors"
	"strconv"

	"orderflow/internal/order"
)

// orderBody is the body of POST /orders.
type orderBody struct {
	key           bodyKey
	userID        int64
	lines         []order.Line
	paymentMethod string
}

func (r *bodyReader) order(into *orderBody) {
	r.object(func(name []byte) bool {
		switch string(name) {
		case "user_id":
			into.userID = r.integer("user_id")
		case keyField:
			into.key = r.key()
		case "items":
			r.lines(&into.lines)
		case "payment_method":
			into.paymentMethod = r.text("payment_method")
		default:
			return false
		}
		return true
	}, "user_id", "items")
}

// lines reads the lines of an order. It keeps one more than an order may have, so that order.NewDraft sees that there are too many.
func (r *bodyReader) lines(into *[]order.Line) {
	r.array("items", func() {
		if len(*into) > order.MaxLines {
			r.skip()
			return
		}
		r.line = len(*into)
		var line order.Line
		r.object(func(name []byte) bool {
			switch string(name) {
			case "product_id":
				line.ProductID = r.integer("product_id")
			case "quantity":
				line.Quantity = r.integer("quantity")
			default:
				return false
			}
			return true
		}, "product_id", "quantity")
		r.line = -1
		*into = append(*into, line)
	})
}

// readDraft reads the body of POST /orders. All validation errors come in one CodeValidation error.
func (a *API) readDraft(rc *requestContext) (order.Draft, error) {
	var body orderBody
	invalid, err := rc.readJSON(func(r *bodyReader) { r.order(&body) })
	if err != nil {
		return order.Draft{}, err
	}
	key := rc.idempotencyKey(body.key, &invalid)
	draft, err := order.NewDraft(invalid, body.userID, key, body.lines, body.paymentMethod)
	if refused, ok := errors.AsType[*order.Error](err); ok {
		refused.Fields.Merge(a.missing(rc.r.Context(), &body, rc.caller)) // no transaction will report them, since the draft is refused
		return order.Draft{}, err
	}
	if draft.Actor = "user:" + strconv.FormatInt(draft.UserID, 10); rc.caller.Admin {
		draft.Actor = rc.caller.Actor()
	}
	draft.Trace = rc.trace
	return draft, nil
}

// missing returns the validation error for the user and the products of an invalid body that do not exist. Without an answer of
// the database it returns nil: the request is refused in any case. Only a caller who may act for a user learns whether that user
// exists.
func (a *API) missing(ctx context.Context, body *orderBody, caller order.Caller) error {
	var users, products []int64
	lookUpUser := order.ValidID(body.userID) && caller.MayActFor(body.userID)
	if lookUpUser {
		users = append(users, body.userID)
	}
	for _, line := range body.lines {
		if order.ValidID(line.ProductID) {
			products = append(products, line.ProductID)
		}
	}
	if len(users)+len(products) == 0 {
		return nil
	}
	existingUsers, existingProducts, err := a.options.Reader.Existing(ctx, users, products)
	if err != nil {
		a.options.Logger.WarnContext(ctx, "The users and products of an invalid request could not be looked up.",
			"event", "existence.lookup_failed", "error", err)
		return nil
	}
	named := order.Draft{Requested: body.lines}
	return named.Missing(!lookUpUser || existingUsers[body.userID], func(id int64) bool { return !order.ValidID(id) || existingProducts[id] })
}
