package console

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"orderflow/internal/order"
)

// away is a shop whose database does not answer.
type away struct{}

var errAway = order.Errorf(order.CodeUnavailable, "The database does not answer.")

func (away) Order(context.Context, int64) (*order.Order, error) { return nil, errAway }

func (away) Orders(context.Context, order.ListQuery) (order.Page, error) {
	return order.Page{}, errAway
}

func (away) OrdersByKey(context.Context, int64, string, int) ([]*order.Order, error) {
	return nil, errAway
}

func (away) Events(context.Context, int64, int) ([]order.Event, error) { return nil, errAway }

func (away) Payments(context.Context, int64) ([]order.Payment, error) { return nil, errAway }

func (away) ProductsByID(context.Context, []int64) ([]order.Product, error) { return nil, errAway }

func (away) ProductPage(context.Context, int, int) (order.ProductPage, error) {
	return order.ProductPage{}, errAway
}

func (away) StockAdded(context.Context, []int64) (map[int64]int64, error) { return nil, errAway }

func (away) FailedJobOrders(context.Context, int, int) (order.FailedJobOrderPage, error) {
	return order.FailedJobOrderPage{}, errAway
}

func (away) Backlog(context.Context) (order.Backlog, error) { return order.Backlog{}, errAway }

// While the database does not answer, every page says so, under a trace id, and none says that there is nothing.
func TestPagesWithoutADatabase(t *testing.T) {
	t.Parallel()
	c := newShop(t, false).open(func(o *Options) { o.Shop = away{} })
	for _, path := range []string{
		"/orders", "/orders?id=1", "/orders?key=k", "/orders/1", "/orders/1/cancel", "/products", "/products/1", "/dead-letters",
		"/dead-letters/ask?do=retry&all=on", "/try",
	} {
		for _, header := range []string{"X-Trace-Id: mine", "HX-Request: true"} {
			c.send(http.MethodGet, path, nil, header).has(503, "The database does not answer.", "Trace id", "!There are no", "!No order is", "!Waiting for payment: <b>0")
		}
	}
	c.send(http.MethodGet, "/try?part=gateway", nil, "HX-Request: true").has(503, "How many orders wait cannot be said", "breaker-closed")
	for _, path := range []string{"/orders/1/cancel", "/try/race"} {
		c.post(path).has(503, "The database does not answer.")
	}
	c.send(http.MethodPost, "/dead-letters", url.Values{"do": {"retry"}, "id": {"1"}}).has(503)
}
