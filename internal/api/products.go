package api

import (
	"context"
	"time"
)

func (a *API) listProducts(x *requestContext) error {
	body, err := a.products.get(x.r.Context())
	if err != nil {
		return err
	}
	return x.jsonMade(body)
}

// productsAge is how old the list may be.
const productsAge = time.Second

// loadShared gets the list from where processes keep it together, or else from the database.
func (a *API) loadShared(ctx context.Context) ([]byte, error) {
	began := time.Now()
	list, version, err := a.options.Products.Get(ctx)
	if err == nil && list != nil {
		return list, nil
	}
	list, loadErr := a.loadProducts(ctx)
	if loadErr == nil && err == nil {
		_ = a.options.Products.Put(ctx, version, list, productsAge-time.Since(began)) // who comes next asks the database too
	}
	return list, loadErr
}

// dropProducts makes everybody forget the list, this process for sure. Creates need no more than their own process's word:
// the release of their locks has told the others.
func (a *API) dropProducts(ctx context.Context) {
	if a.options.Products != nil {
		_ = a.options.Products.Drop(context.WithoutCancel(ctx)) // others see a list of up to a second ago
	}
	a.products.drop()
}

// loadProducts reads the products and returns the answer to everybody who asks for them. It must not be changed.
func (a *API) loadProducts(ctx context.Context) ([]byte, error) {
	products, err := a.options.Reader.Products(ctx)
	if err != nil {
		return nil, err
	}
	body := append(make([]byte, 0, 20+160*len(products)), `{"data":[`...)
	for i := range products {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendProduct(body, &products[i])
	}
	return append(body, ']', '}', '\n'), nil
}
