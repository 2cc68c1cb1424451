package console

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"orderflow/internal/order"
)

// unavailableStore is a Store whose database does not answer.
type unavailableStore struct{}

var errUnavailable = order.Errorf(order.CodeUnavailable, "The database does not answer.")

func (unavailableStore) Order(context.Context, int64) (*order.Order, error) {
	return nil, errUnavailable
}

func (unavailableStore) Orders(context.Context, order.ListQuery) (order.Page, error) {
	return order.Page{}, errUnavailable
}

func (unavailableStore) OrdersByKey(context.Context, int64, string, int) ([]*order.Order, error) {
	return nil, errUnavailable
}

func (unavailableStore) Events(context.Context, int64, int) ([]order.Event, error) {
	return nil, errUnavailable
}

func (unavailableStore) Payments(context.Context, int64) ([]order.Payment, error) {
	return nil, errUnavailable
}

func (unavailableStore) ProductsByID(context.Context, []int64) ([]order.Product, error) {
	return nil, errUnavailable
}

func (unavailableStore) ProductPage(context.Context, int, int) (order.ProductPage, error) {
	return order.ProductPage{}, errUnavailable
}

func (unavailableStore) StockAdded(context.Context, []int64) (map[int64]int64, error) {
	return nil, errUnavailable
}

func (unavailableStore) FailedJobOrders(context.Context, int, int) (order.FailedJobOrderPage, error) {
	return order.FailedJobOrderPage{}, errUnavailable
}

func (unavailableStore) Backlog(context.Context) (order.Backlog, error) {
	return order.Backlog{}, errUnavailable
}

// While the database does not answer, every page shows that error with a trace id, and no page claims that nothing exists.
func TestPagesWithoutADatabase(t *testing.T) {
	t.Parallel()
	c := newEnv(t, false).open(func(o *Options) { o.Store = unavailableStore{} })
	for _, path := range []string{
		"/orders", "/orders?id=1", "/orders?key=k", "/orders/1", "/orders/1/cancel", "/products", "/products/1", "/failed-jobs",
		"/failed-jobs/confirm?do=retry&all=on", "/try",
	} {
		for _, header := range []string{"X-Trace-Id: mine", "HX-Request: true"} {
			c.send(http.MethodGet, path, nil, header).
				has(503, "The database does not answer.", "Trace id", "!There are no", "!No order matches", "!Waiting for payment: <b>0")
		}
	}
	c.send(http.MethodGet, "/try?part=gateway", nil, "HX-Request: true").has(503, "The number of waiting orders is unknown", "breaker-closed")
	for _, path := range []string{"/orders/1/cancel", "/try/race"} {
		c.post(path).has(503, "The database does not answer.")
	}
	c.send(http.MethodPost, "/failed-jobs", url.Values{"do": {"retry"}, "id": {"1"}}).has(503)
}
