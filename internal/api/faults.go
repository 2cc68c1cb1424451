package api

import (
	"context"
	"errors"

	"orderflow/internal/order"
)

// faults are what is wrong with a request, by field. The zero value is none.
type faults map[string][]string

func (f *faults) add(field, message string) {
	f.move(field, []string{message})
}

func (f *faults) move(field string, messages []string) {
	if *f == nil {
		*f = faults{}
	}
	(*f)[field] = append((*f)[field], messages...)
}

// err is the CodeValidation error for all of them, or nil when there are none.
func (f faults) err() error {
	return order.ValidationErrors(f).Err()
}

// addOthers adds the fields of a CodeValidation error that have no fault yet: a value of the wrong type was handed on
// as zero, and one message about it is enough. Another error is none of its business.
func (f *faults) addOthers(err error) {
	var invalid *order.Error
	if !errors.As(err, &invalid) {
		return
	}
	known := make(map[string]bool, len(*f))
	for field := range *f {
		known[field] = true
	}
	for field, messages := range invalid.Fields {
		if !known[field] {
			f.move(field, messages)
		}
	}
}

// draft makes a draft of a body, or returns all its validation errors as one. A draft for another user than the caller's is
// CodeForbidden.
func (a *API) draft(ctx context.Context, body *orderBody, caller order.Caller) (order.Draft, error) {
	draft, err := order.NewDraft(order.ValidationErrors(body.faults), body.userID, body.key, body.lines, body.paymentMethod)
	if err == nil {
		return draft, mayActFor(caller, body.userID)
	}
	if invalid, ok := errors.AsType[*order.Error](err); ok {
		invalid.Fields.Merge(a.missing(ctx, body, caller)) // the transaction, which reports them otherwise, is never reached
	}
	return order.Draft{}, err
}

// missing returns the validation error for the user and the products of an invalid body that do not exist. Without an answer of
// the database it returns nil: the request is refused in any case. Only a caller who may act for a user learns whether that user
// exists.
func (a *API) missing(ctx context.Context, body *orderBody, caller order.Caller) error {
	var users, products []int64
	asked := order.ValidID(body.userID) && caller.MayActFor(body.userID)
	if asked {
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
	knownUsers, knownProducts, err := a.options.Reader.Existing(ctx, users, products)
	if err != nil {
		a.options.Logger.WarnContext(ctx, "users and products of a faulty request could not be looked up", "event", "known.failed", "error", err)
		return nil
	}
	named := order.Draft{Requested: body.lines}
	return named.Missing(!asked || knownUsers[body.userID], func(id int64) bool { return !order.ValidID(id) || knownProducts[id] })
}
