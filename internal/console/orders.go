package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

const (
	ordersPerPage = 50
	keyMax        = 1020 // bytes of a key that is looked for, as the longest that there are
)

// Store is what the pages look up. Each method limits its own time; CodeUnavailable says that the database does not answer.
type Store interface {
	Order(ctx context.Context, id int64) (*order.Order, error)
	Orders(ctx context.Context, query order.ListQuery) (order.Page, error)
	// OrdersByKey finds an order of a user by its key, or with user 0 those of anybody, among the newest 100,000 orders.
	OrdersByKey(ctx context.Context, user int64, key string, limit int) ([]*order.Order, error)
	Events(ctx context.Context, orderID int64, after int) ([]order.Event, error)
	Payments(ctx context.Context, orderID int64) ([]order.Payment, error)
	// ProductsByID returns those of the products that there are.
	ProductsByID(ctx context.Context, ids []int64) ([]order.Product, error)
	// ProductPage returns products by id; pages count from 1.
	ProductPage(ctx context.Context, page, perPage int) (order.ProductPage, error)
	// PutIn returns, by product, what was put into stock by hand.
	StockAdded(ctx context.Context, products []int64) (pieces map[int64]int64, err error)
	FailedJobOrders(ctx context.Context, page, perPage int) (order.FailedJobOrderPage, error)
	Backlog(ctx context.Context) (order.Backlog, error)
}

// search is what somebody looks for, as they wrote it.
type search struct {
	ID, Key, User, Status string

	id, user, before int64
}

// readSearch reads the form of the page Orders. The error carries CodeValidation.
func readSearch(form url.Values) (s search, err error) {
	s = search{
		ID: strings.TrimSpace(form.Get("id")), Key: form.Get("key"), User: strings.TrimSpace(form.Get("user")), Status: form.Get("status"),
	}
	faults := map[string][]string{}
	number := func(field, text string) (n int64) {
		if text == "" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > order.MaxID {
			faults[field] = []string{"must be a whole number from 1 on"}
		}
		return n
	}
	s.id, s.user, s.before = number("id", s.ID), number("user", s.User), number("before", form.Get("before"))
	if s.Status != "" && !order.Status(s.Status).Valid() {
		faults["status"] = []string{"must be one of those in the list"}
	}
	if len(s.Key) > keyMax {
		faults["key"] = []string{"must have 255 characters at most"}
	}
	return s, order.ValidationErrors(faults).Err()
}

// older is the address of the page that begins below an order.
func (s *search) older(before int64) string {
	values := url.Values{"before": {strconv.FormatInt(before, 10)}}
	for name, value := range map[string]string{"user": s.User, "status": s.Status} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return Prefix + "/orders?" + values.Encode()
}

// ordersView is what the page Orders shows.
type ordersView struct {
	Search   search
	Statuses []order.Status
	Orders   []*order.Order
	Older    string // address of the next page; "" for none
	Later    bool   // this is not the first page
	Narrow   bool   // something is looked for
	Own      bool   // the visitor sees their own orders alone
}

// showOrders lists orders, newest first. Who is no admin sees their own.
func (c *Console) showOrders(v *requestContext) (any, error) {
	s, err := readSearch(v.query)
	view := &ordersView{Search: s, Statuses: order.Statuses(), Later: s.before > 0, Own: !v.who.Admin()}
	view.Narrow = s.ID+s.Key+s.User+s.Status != ""
	if err != nil {
		return view, err
	}
	if view.Own {
		s.user = v.who.Caller().UserID
	}
	view.Orders, view.Older, err = c.findOrders(v.r.Context(), &s)
	return view, err
}

// findOrders finds what is looked for, and the address of what follows.
func (c *Console) findOrders(ctx context.Context, s *search) (orders []*order.Order, older string, err error) {
	switch {
	case s.id > 0:
		o, err := c.options.Shop.Order(ctx, s.id)
		if order.CodeOf(err) == order.CodeNotFound {
			return nil, "", nil
		}
		if err == nil {
			orders = s.matching(o)
		}
		return orders, "", err
	case s.Key != "":
		found, err := c.options.Shop.OrdersByKey(ctx, s.user, s.Key, ordersPerPage)
		return s.matching(found...), "", err
	}
	page, err := c.options.Shop.Orders(ctx, order.ListQuery{
		UserID: s.user, Status: order.Status(s.Status), PerPage: ordersPerPage, Before: s.before,
	})
	for i := range page.Orders {
		orders = append(orders, &page.Orders[i])
	}
	if page.More {
		older = s.older(orders[len(orders)-1].ID)
	}
	return orders, older, err
}

// matching are those of the orders found by id or key that the other fields want, too.
func (s *search) matching(found ...*order.Order) (orders []*order.Order) {
	for _, o := range found {
		if (s.user == 0 || o.UserID == s.user) && (s.Status == "" || string(o.Status) == s.Status) && (s.Key == "" || o.Key == s.Key) {
			orders = append(orders, o)
		}
	}
	return orders
}

// happening is one entry of an order's time line.
type happening struct {
	At                     time.Time
	What, Note, Who, Trace string
	Class                  string // how it looks: the status that it led to, or "charge"
}

// orderView is what the page of one order shows.
type orderView struct {
	*order.Order
	Names    map[int64]string // of products
	Steps    []happening
	Payments []order.Payment
}

// Alive reports whether something will still happen to the order by itself.
func (o *orderView) Alive() bool { return !o.Status.Terminal() }

// Pending reports whether the order can be cancelled.
func (o *orderView) Pending() bool { return o.Status == order.Pending }

// showOrder shows one order with all that has happened to it.
func (c *Console) showOrder(v *requestContext) (any, error) {
	o, err := c.order(v)
	if err != nil {
		return nil, err
	}
	view, err := c.orderView(v, o)
	if err != nil {
		return nil, err
	}
	return view, nil
}

// order is the order that an address names, if the visitor may see it.
func (c *Console) order(v *requestContext) (*order.Order, error) {
	id, err := idIn(v.r, "Order")
	if err != nil {
		return nil, err
	}
	o, err := c.options.Shop.Order(v.r.Context(), id)
	if err == nil && !v.who.Admin() && !v.who.Caller().MayActFor(o.UserID) {
		return nil, order.NotFound("Order " + strconv.FormatInt(id, 10))
	}
	return o, err
}

// orderView looks up what the page of an order shows. What the gateway said is for admins: others see how each attempt ended, and
// why a charge was declined in the order's own history.
func (c *Console) orderView(v *requestContext, o *order.Order) (*orderView, error) {
	ctx, view := v.r.Context(), &orderView{Order: o, Names: map[int64]string{}}
	events, err := c.options.Shop.Events(ctx, o.ID, 0)
	if err != nil {
		return nil, err
	}
	if view.Payments, err = c.options.Shop.Payments(ctx, o.ID); err != nil {
		return nil, err
	}
	if !v.who.Admin() {
		for i := range view.Payments {
			view.Payments[i].Reference, view.Payments[i].Error = "", ""
		}
	}
	ids := make([]int64, len(o.Items))
	for i := range o.Items {
		ids[i] = o.Items[i].ProductID
	}
	products, err := c.options.Shop.ProductsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range products {
		view.Names[p.ID] = p.Name
	}
	view.Steps = timeLine(events, view.Payments)
	return view, nil
}

// timeLine is all that happened to an order, in its order. What a settlement writes has one time: the answer of the gateway
// stands before the change that it led to.
func timeLine(events []order.Event, payments []order.Payment) []happening {
	var steps []happening
	for _, p := range payments {
		what := strings.ToUpper(string(p.Kind[:1])) + string(p.Kind[1:])
		s := happening{At: p.At, Who: p.Actor, Class: "charge", What: what + " " + strconv.Itoa(p.Claim)}
		switch p.Outcome {
		case order.Succeeded:
			s.What, s.Note = s.What+" succeeded", p.Reference
		case order.Declined:
			s.What, s.Note = s.What+" was declined", p.Error
		default:
			s.What, s.Note = s.What+" had no answer", p.Error
		}
		steps = append(steps, s)
	}
	for _, e := range events {
		s := happening{At: e.At, Who: e.Actor, Trace: e.Trace.ID, Class: string(e.Type.Status()), Note: e.Reason}
		switch e.Type {
		case order.OrderCreated:
			s.What = "Created"
		case order.OrderProcessing:
			s.What = "Claimed for its payment"
		case order.OrderPaid:
			s.What = "Paid"
		case order.OrderFailed:
			s.What = "Failed; its pieces are back in stock"
		case order.OrderCancelled:
			s.What = "Cancelled; its pieces are back in stock"
		default:
			s.What = string(e.Type)
		}
		steps = append(steps, s)
	}
	slices.SortStableFunc(steps, func(a, b happening) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	return steps
}

// askCancel asks whether an order is really to be cancelled.
func (c *Console) askCancel(v *requestContext) (any, error) {
	o, err := c.order(v)
	if err != nil {
		return nil, err
	}
	return &orderView{Order: o}, nil
}

// cancelOrder cancels an order and leads back to it.
func (c *Console) cancelOrder(v *requestContext) (any, error) {
	o, err := c.order(v)
	if err != nil {
		return nil, err
	}
	path := "/orders/" + strconv.FormatInt(o.ID, 10)
	if err := c.do(v, http.MethodPost, path+"/cancel", nil, nil); err != nil {
		return &orderView{Order: o}, err
	}
	return nil, seeOther(Prefix + path)
}

// do has the API do something for the visitor. path stands below its prefix. The error is the API's.
func (c *Console) do(v *requestContext, method, path string, body, reply any) error {
	_, err := c.options.Inside.ask(v.r.Context(), v.who.acting(), v.trace, method, "/api/v1"+path, body, reply)
	return err
}

// idIn is the id in a request's path, or CodeNotFound.
func idIn(r *http.Request, what string) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 || id > order.MaxID {
		return 0, order.Errorf(order.CodeNotFound, "%s %.20s does not exist.", what, r.PathValue("id"))
	}
	return id, nil
}
