package order

import (
	"fmt"
	"time"
)

// CancelRequest is a request to cancel an order.
type CancelRequest struct {
	OrderID int64
	Actor   string
	Trace   Trace
}

// Changed is the answer to a request about an existing order: the order after the decision, or an error.
type Changed struct {
	Order *Order
	Err   error
}

// Cancel decides a batch of cancellations. A PENDING order becomes CANCELLED and its units return to stock. For a CANCELLED
// order nothing changes. The errors carry CodeNotFound or CodeNotCancellable.
func Cancel(now time.Time, orders map[int64]*Order, requests []CancelRequest) ([]Changed, Effects) {
	answers := make([]Changed, len(requests))
	var effects Effects
	for i, request := range requests {
		o := orders[request.OrderID]
		switch {
		case o == nil:
			answers[i].Err = NotFound(fmt.Sprintf("Order %d", request.OrderID))
		case o.Status == Cancelled:
			answers[i].Order = o
		case !o.Status.CanBecome(Cancelled):
			answers[i].Err = Errorf(CodeNotCancellable, "Order %d is %s; only a PENDING order can be cancelled.", o.ID, o.Status)
		default:
			effects.change(o, ChangeSet{To: Cancelled, Events: 1, CancelledAt: now}, now)
			effects.event(o, OrderCancelled, "", request.Actor, request.Trace, now)
			effects.returnStock(o)
			answers[i].Order = o
		}
	}
	return answers, effects
}
