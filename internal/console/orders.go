package console

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"orderflow/internal/order"
)

const (
	ordersPerPage = 50
	maxKey        = 1020 // bytes of an idempotency key: 255 characters
)

// search is the form of the page Orders as it was sent, with its numbers.
type search struct {
	ID, Key, User, Status string

	id, user, before int64
}

// readSearch reads the form. The error carries CodeValidation.
func readSearch(form url.Values) (s search, err error) {
	s = search{
		ID: strings.TrimSpace(form.Get("id")), Key: form.Get("key"), User: strings.TrimSpace(form.Get("user")), Status: form.Get("status"),
	}
	wrong := map[string][]string{}
	number := func(field, text string) (n int64) {
		if text == "" {
			return 0
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > order.MaxID {
			wrong[field] = []string{"must be a whole number of at least 1"}
		}
		return n
	}
	s.id, s.user, s.before = number("id", s.ID), number("user", s.User), number("before", form.Get("before"))
	if s.Status != "" && !order.Status(s.Status).Valid() {
		wrong["status"] = []string{"must be a status of the list"}
	}
	if len(s.Key) > maxKey {
		wrong["key"] = []string{"must have at most 255 characters"}
	}
	return s, order.ValidationErrors(wrong).Err()
}

// older returns the address of the page with the orders below an id.
func (s *search) older(before int64) string {
	values := url.Values{"before": {strconv.FormatInt(before, 10)}}
	for name, value := range map[string]string{"user": s.User, "status": s.Status} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return Prefix + "/orders?" + values.Encode()
}

// matching returns the orders, found by id or key, that match the other fields too.
func (s *search) matching(found ...*order.Order) (orders []*order.Order) {
	for _, o := range found {
		if (s.user == 0 || o.UserID == s.user) && (s.Status == "" || string(o.Status) == s.Status) && (s.Key == "" || o.Key == s.Key) {
			orders = append(orders, o)
		}
	}
	return orders
}

// ordersView is the data of the page Orders.
type ordersView struct {
	Search   search
	Statuses []order.Status
	Orders   []*order.Order
	Older    string // address of the next page; "" for none
	Later    bool   // this is not the first page
	Filtered bool
	Own      bool // only the user's own orders
}

// showOrders lists orders, newest first. Only admins see the orders of others.
func (c *Console) showOrders(rc *requestContext) (any, error) {
	s, err := readSearch(rc.query)
	view := &ordersView{Search: s, Statuses: order.Statuses(), Later: s.before > 0, Own: !rc.session.Admin()}
	view.Filtered = s.ID+s.Key+s.User+s.Status != ""
	if err != nil {
		return view, err
	}
	if view.Own {
		s.user = rc.session.Caller().UserID
	}
	view.Orders, view.Older, err = c.findOrders(rc.r.Context(), &s)
	return view, err
}

// findOrders returns the orders of a search, and the address of the next page.
func (c *Console) findOrders(ctx context.Context, s *search) (orders []*order.Order, older string, err error) {
	switch {
	case s.id > 0:
		o, err := c.options.Store.Order(ctx, s.id)
		if order.CodeOf(err) == order.CodeNotFound {
			return nil, "", nil
		}
		if err == nil {
			orders = s.matching(o)
		}
		return orders, "", err
	case s.Key != "":
		found, err := c.options.Store.OrdersByKey(ctx, s.user, s.Key, ordersPerPage)
		return s.matching(found...), "", err
	}
	page, err := c.options.Store.Orders(ctx, order.ListQuery{
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

// pathID returns the id in a request's path, or CodeNotFound.
func pathID(r *http.Request, what string) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 || id > order.MaxID {
		return 0, order.Errorf(order.CodeNotFound, "%s %.20s does not exist.", what, r.PathValue("id"))
	}
	return id, nil
}

// pageNumber returns the requested page, from 1.
func pageNumber(query url.Values) (int, error) {
	if !query.Has("page") {
		return 1, nil
	}
	n, err := strconv.Atoi(query.Get("page"))
	if err != nil || n < 1 || n > 100_000 {
		return 0, order.Errorf(order.CodeNotFound, "This page does not exist.")
	}
	return n, nil
}

// pageLinks returns the addresses of the previous and the next page, "" for none.
func pageLinks(path string, number int, more bool) (previous, next string) {
	if number > 1 {
		previous = path + "?page=" + strconv.Itoa(number-1)
	}
	if more {
		next = path + "?page=" + strconv.Itoa(number+1)
	}
	return previous, next
}
