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
	if len(f) == 0 {
		return nil
	}
	return order.InvalidFields(f)
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

// draft makes a draft of a body, or returns all its faults in one CodeValidation error. One that is for another user than the
// caller's is CodeForbidden.
func (a *API) draft(ctx context.Context, body *orderBody, caller order.Caller) (order.Draft, error) {
	if len(body.faults) == 0 {
		draft, err := order.NewDraft(body.userID, body.key, body.lines, body.paymentMethod)
		if err == nil {
			return draft, mayActFor(caller, body.userID)
		}
	}
	return order.Draft{}, a.allFaults(ctx, body, caller)
}

// allFaults collects what is wrong with a body: what its reader found, what the rules of an order say about the rest,
// and whether the user and the products that are well named exist. A request without a fault never comes here: it is
// told about unknown ones by its transaction.
func (a *API) allFaults(ctx context.Context, body *orderBody, caller order.Caller) error {
	for i := range body.lines {
		// What is no id adds up with nothing: the lines of two unreadable products are not one product's.
		if id := &body.lines[i].ProductID; !validID(*id) {
			*id = -int64(i) - 1
		}
	}
	_, err := order.NewDraft(body.userID, body.key, body.lines, body.paymentMethod)
	body.faults.addOthers(err)
	body.faults.addOthers(a.unknown(ctx, body, caller))
	for i := range body.lines {
		// A line that is no object has that fault, and not those of the fields that it cannot have.
		if _, bad := body.faults[lineField(i, "")]; bad {
			delete(body.faults, lineField(i, "product_id"))
			delete(body.faults, lineField(i, "quantity"))
		}
	}
	return body.faults.err()
}

// unknown looks up what is well named. Should the database not answer, the faults found so far will do: the request is
// wrong in any case. Whether a user exists is told to those alone who may act for that user.
func (a *API) unknown(ctx context.Context, body *orderBody, caller order.Caller) error {
	var users, products []int64
	asked := validID(body.userID) && caller.MayActFor(body.userID)
	if asked {
		users = append(users, body.userID)
	}
	for _, line := range body.lines {
		if validID(line.ProductID) {
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
	return named.Unknown(!asked || knownUsers[body.userID], func(id int64) bool { return !validID(id) || knownProducts[id] })
}

func validID(id int64) bool { return id >= 1 && id <= order.MaxID }
