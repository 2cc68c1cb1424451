package order

import (
	"fmt"
	"slices"
	"time"
)

// Placed is the answer to one Draft: an order, new or found again, or an error.
type Placed struct {
	Order    *Order
	Replayed bool // the order was there before
	Err      error
}

// Place decides a batch of drafts, first come, first served. existing holds the orders found under the drafts' keys,
// products the locked rows of all products asked for. A draft whose key is in use is answered with that order when it
// asks for the same items, else refused; one that asks for more than is left is refused and disturbs nobody; a
// duplicate of a refused draft is judged by itself.
//
// It returns an answer for each draft, in their order, and what to write. The errors carry CodeKeyReused,
// CodeInsufficientStock, CodeProductInactive or CodeValidation (an unknown product, one of another currency, a total beyond
// MaxMoney).
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
		effects.New = append(effects.New, o)
		answers[i].Order = o
	}
	slices.SortFunc(effects.New, byRef)
	return answers, effects
}

// Replay is the answer to a draft whose key found an order.
func Replay(draft Draft, found *Order) Placed {
	if found.Fingerprint != draft.Fingerprint {
		return Placed{Err: Errorf(CodeKeyReused,
			"The idempotency key was used for an order with other items. Use a new key for a new order.")}
	}
	return Placed{Order: found, Replayed: true}
}

// place makes the order of one draft, or says why there is none.
func place(rules Rules, now time.Time, draft Draft, products map[int64]Product, left map[int64]int64) (*Order, error) {
	known := func(id int64) bool { _, ok := products[id]; return ok }
	if err := draft.Missing(true, known); err != nil {
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
				Message: fmt.Sprintf("Product %d is not for sale at the moment.", line.ProductID),
			}
		}
		amount, fits := product.Price.Times(line.Quantity)
		if fits {
			total, fits = total.Plus(amount)
		}
		if !fits {
			return nil, Invalid("items", "come to a total above "+MaxMoney.String()+"; order less at once")
		}
		items[i] = Item{line.ProductID, line.Quantity, product.Price}
	}
	for _, line := range draft.Lines {
		if have := left[line.ProductID]; have < line.Quantity {
			return nil, &Error{
				Code: CodeInsufficientStock, ProductID: line.ProductID, Requested: line.Quantity, Available: have,
				Message: fmt.Sprintf("Product %d has %d left, %d were asked for.", line.ProductID, have, line.Quantity),
			}
		}
	}
	return &Order{
		UserID: draft.UserID, Status: Pending, Total: total, Currency: rules.Currency, Key: draft.Key,
		Fingerprint: draft.Fingerprint, PaymentMethod: draft.PaymentMethod, Items: items,
		AttemptsLeft: rules.PaymentAttempts, DueAt: now.Add(rules.Grace), Version: 1, CreatedAt: now, UpdatedAt: now,
	}, nil
}

// Created returns the first event of each new order; call it once the ids are known. answers and drafts are those of
// Place.
func Created(drafts []Draft, answers []Placed, now time.Time) []Event {
	events := make([]Event, 0, len(answers))
	for i, a := range answers {
		if a.Err != nil || a.Replayed {
			continue
		}
		o := a.Order
		events = append(events, Event{
			OrderID: o.ID, Seq: o.Version, Type: OrderCreated, UserID: o.UserID, Total: o.Total, Currency: o.Currency,
			Actor: drafts[i].Actor, Trace: drafts[i].Trace, At: now,
		})
	}
	return events
}
