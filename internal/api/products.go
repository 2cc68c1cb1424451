package api

import (
	"context"
	"net/http"
)

func (a *API) listProducts(x *exchange) error {
	body, err := a.products.get(x.r.Context())
	if err != nil {
		return err
	}
	x.json(http.StatusOK, body)
	return nil
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
