package console

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// timelineEntry is one entry of an order's timeline.
type timelineEntry struct {
	At                       time.Time
	What, Note, Actor, Trace string
	Class                    string // of the style sheet: the resulting status, or "charge"
}

// orderView is the data of the page of one order.
type orderView struct {
	*order.Order
	Names    map[int64]string // of products
	Timeline []timelineEntry
	Payments []order.Payment
}

// Open reports whether the status can still change.
func (o *orderView) Open() bool { return !o.Status.Terminal() }

// Pending reports whether the order can be cancelled.
func (o *orderView) Pending() bool { return o.Status == order.Pending }

// showOrder shows one order with its timeline.
func (c *Console) showOrder(rc *requestContext) (any, error) {
	o, err := c.order(rc)
	if err != nil {
		return nil, err
	}
	view, err := c.orderView(rc, o)
	if err != nil {
		return nil, err
	}
	return view, nil
}

// order returns the order in the request's path, if the session may see it.
func (c *Console) order(rc *requestContext) (*order.Order, error) {
	id, err := pathID(rc.r, "Order")
	if err != nil {
		return nil, err
	}
	o, err := c.options.Store.Order(rc.r.Context(), id)
	if err == nil && !rc.session.Admin() && !rc.session.Caller().MayActFor(o.UserID) {
		return nil, order.NotFound("Order " + strconv.FormatInt(id, 10))
	}
	return o, err
}

// orderView reads the data of the page. Only admins see the gateway's references and errors. Other users see the outcome of each
// payment, and the reason of a declined charge in the order's own history.
func (c *Console) orderView(rc *requestContext, o *order.Order) (*orderView, error) {
	ctx, view := rc.r.Context(), &orderView{Order: o, Names: map[int64]string{}}
	events, err := c.options.Store.Events(ctx, o.ID, 0)
	if err != nil {
		return nil, err
	}
	if view.Payments, err = c.options.Store.Payments(ctx, o.ID); err != nil {
		return nil, err
	}
	if !rc.session.Admin() {
		for i := range view.Payments {
			view.Payments[i].Reference, view.Payments[i].Error = "", ""
		}
	}
	ids := make([]int64, len(o.Items))
	for i := range o.Items {
		ids[i] = o.Items[i].ProductID
	}
	products, err := c.options.Store.ProductsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range products {
		view.Names[p.ID] = p.Name
	}
	view.Timeline = timeline(events, view.Payments)
	return view, nil
}

// timeline merges events and payments by time. A payment and the event that it caused have the same time; the payment comes first.
func timeline(events []order.Event, payments []order.Payment) []timelineEntry {
	var entries []timelineEntry
	for _, p := range payments {
		what := strings.ToUpper(string(p.Kind[:1])) + string(p.Kind[1:]) + " " + strconv.Itoa(p.Claim)
		entry := timelineEntry{At: p.At, Actor: p.Actor, Class: "charge"}
		switch p.Outcome {
		case order.Succeeded:
			entry.What, entry.Note = what+" succeeded", p.Reference
		case order.Declined:
			entry.What, entry.Note = what+" was declined", p.Error
		default:
			entry.What, entry.Note = what+" had no answer", p.Error
		}
		entries = append(entries, entry)
	}
	for _, e := range events {
		entry := timelineEntry{At: e.At, Actor: e.Actor, Trace: e.Trace.ID, Class: string(e.Type.Status()), Note: e.Reason}
		switch e.Type {
		case order.OrderCreated:
			entry.What = "Created"
		case order.OrderProcessing:
			entry.What = "Claimed for payment"
		case order.OrderPaid:
			entry.What = "Paid"
		case order.OrderFailed:
			entry.What = "Failed; its units are back in stock"
		case order.OrderCancelled:
			entry.What = "Cancelled; its units are back in stock"
		default:
			entry.What = string(e.Type)
		}
		entries = append(entries, entry)
	}
	slices.SortStableFunc(entries, func(a, b timelineEntry) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return entries
}

// confirmCancel asks for confirmation.
func (c *Console) confirmCancel(rc *requestContext) (any, error) {
	o, err := c.order(rc)
	if err != nil {
		return nil, err
	}
	return &orderView{Order: o}, nil
}

// cancelOrder cancels an order and redirects to it.
func (c *Console) cancelOrder(rc *requestContext) (any, error) {
	o, err := c.order(rc)
	if err != nil {
		return nil, err
	}
	path := "/orders/" + strconv.FormatInt(o.ID, 10)
	if err := rc.call(http.MethodPost, path+"/cancel", nil, nil); err != nil {
		return &orderView{Order: o}, err
	}
	return nil, seeOther(Prefix + path)
}
