package order

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Placed is the answer to one Draft: a new order, the order that already has its key, or an error.
type Placed struct {
	Order    *Order
	Replayed bool // the order existed before
	Err      error
}

// Place decides a batch of drafts in their order. existing are the orders with the drafts' keys, products the locked rows of
// their products. It returns an answer for each draft, and the effects.
//
//   - A draft whose key is in use is answered with that order if it has the same items, and refused otherwise.
//   - A draft for more units than are left is refused. Others are not affected.
//   - A duplicate of a refused draft is decided anew.
//
// The errors carry CodeKeyReused, CodeInsufficientStock, CodeProductInactive or CodeValidation (a missing product, a price in
// another currency, a total above MaxMoney).
func Place(rules Rules, now time.Time, drafts []Draft, existing map[OrderKey]*Order, products map[int64]Product) ([]Placed, Effects) {
	answers := make([]Placed, len(drafts))
	var effects Effects
	placed := make(map[OrderKey]*Order, len(drafts))
	left := make(map[int64]int64, len(products))
	for id, p := range products {
		left[id] = p.Stock
	}
	for i, draft := range drafts {
		earlier := existing[draft.OrderKey()]
		if earlier == nil {
			earlier = placed[draft.OrderKey()]
		}
		if earlier != nil {
			answers[i] = Replay(draft, earlier)
			continue
		}
		o, err := place(rules, now, draft, products, left)
		if err != nil {
			answers[i].Err = err
			continue
		}
		for _, item := range o.Items {
			left[item.ProductID] -= item.Quantity
			effects.move(item.ProductID, -item.Quantity)
		}
		placed[draft.OrderKey()] = o
		effects.create(o, draft, len(drafts)-i, now)
		answers[i].Order = o
	}
	effects.sortNew()
	return answers, effects
}

// create adds a new order and its first event. most is how many may still be added, this one included.
func (e *Effects) create(o *Order, draft Draft, most int, now time.Time) {
	if e.created == nil {
		e.created, e.Events = make([]*Order, 0, most), make([]Event, 0, most)
	}
	e.created = append(e.created, o)
	e.event(o, OrderCreated, "", draft.Actor, draft.Trace, now)
}

// sortNew sorts the new orders as the lock order requires: by user and key.
func (e *Effects) sortNew() {
	e.New = e.created
	byKey := func(a, b *Order) int { return cmp.Or(cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Key, b.Key)) }
	if !slices.IsSortedFunc(e.New, byKey) {
		e.New = slices.SortedFunc(slices.Values(e.created), byKey)
	}
}

// Replay answers a draft whose key belongs to an order.
func Replay(draft Draft, found *Order) Placed {
	if found.Fingerprint != draft.Fingerprint {
		return Placed{Err: Errorf(CodeKeyReused,
			"The idempotency key was used for an order with other items. Use a new key for a new order.")}
	}
	return Placed{Order: found, Replayed: true}
}

// place returns the order of one draft, or the error that refuses it.
func place(rules Rules, now time.Time, draft Draft, products map[int64]Product, left map[int64]int64) (*Order, error) {
	exists := func(id int64) bool { _, ok := products[id]; return ok }
	if err := draft.Missing(true, exists); err != nil {
		return nil, err
	}
	items := make([]Item, len(draft.Lines))
	var total Money
	for i, line := range draft.Lines {
		product := products[line.ProductID]
		if product.Currency != rules.Currency {
			return nil, draft.otherCurrency(products, rules.Currency)
		}
		if !product.Active {
			return nil, &Error{
				Code: CodeProductInactive, ProductID: line.ProductID,
				Message: fmt.Sprintf("Product %d is not for sale.", line.ProductID),
			}
		}
		amount, fits := product.Price.Times(line.Quantity)
		if fits {
			total, fits = total.Plus(amount)
		}
		if !fits {
			return nil, Invalid("items", "have a total above "+MaxMoney.String()+"; order fewer units")
		}
		items[i] = Item{line.ProductID, line.Quantity, product.Price}
	}
	for _, line := range draft.Lines {
		if have := left[line.ProductID]; have < line.Quantity {
			return nil, &Error{
				Code: CodeInsufficientStock, ProductID: line.ProductID, Requested: line.Quantity, Available: have,
				Message: fmt.Sprintf("Product %d has %d left; %d requested.", line.ProductID, have, line.Quantity),
			}
		}
	}
	return &Order{
		UserID: draft.UserID, Status: Pending, Total: total, Currency: rules.Currency, Key: draft.Key,
		Fingerprint: draft.Fingerprint, PaymentMethod: draft.PaymentMethod, Items: items,
		AttemptsLeft: rules.PaymentAttempts, DueAt: now.Add(rules.Grace), Version: 1, CreatedAt: now, UpdatedAt: now,
	}, nil
}
