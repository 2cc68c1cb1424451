package console

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"orderflow/internal/order"
)

const productsPerPage = 100

// stockedProduct is a product with the units that were ever added.
type stockedProduct struct {
	order.Product
	Added int64
}

// SoldOut reports whether the stock is 0.
func (p stockedProduct) SoldOut() bool { return p.Stock == 0 }

// Capacity returns the stock of a full bar: the units added, or the stock if that is more.
func (p stockedProduct) Capacity() int64 { return max(1, p.Added, p.Stock) }

// productsView is the data of the page Products.
type productsView struct {
	Products       []stockedProduct
	Total, SoldOut int64
	Newer, Next    string
	Form           productForm // for a new product
}

// productForm is a form for a product as it was sent.
type productForm struct {
	Name, Price, Stock, Quantity, Reason string
	Key                                  string // idempotency key, new with each page
}

func newForm() productForm { return productForm{Key: rand.Text()} }

func readProductForm(form url.Values) productForm {
	return productForm{
		Name: form.Get("name"), Price: strings.TrimSpace(form.Get("price")), Stock: strings.TrimSpace(form.Get("stock")),
		Quantity: strings.TrimSpace(form.Get("quantity")), Reason: form.Get("reason"), Key: form.Get("key"),
	}
}

// withStock adds the units that were ever added to each product.
func (c *Console) withStock(rc *requestContext, products []order.Product) ([]stockedProduct, error) {
	ids := make([]int64, len(products))
	for i := range products {
		ids[i] = products[i].ID
	}
	added, err := c.options.Store.StockAdded(rc.r.Context(), ids)
	if err != nil {
		return nil, err
	}
	all := make([]stockedProduct, len(products))
	for i, p := range products {
		all[i] = stockedProduct{p, added[p.ID]}
	}
	return all, nil
}

func (c *Console) showProducts(rc *requestContext) (any, error) { return c.productsView(rc, newForm()) }

func (c *Console) productsView(rc *requestContext, form productForm) (any, error) {
	number, err := pageNumber(rc.query)
	if err != nil {
		return nil, err
	}
	page, err := c.options.Store.ProductPage(rc.r.Context(), number, productsPerPage)
	if err != nil {
		return nil, err
	}
	view := &productsView{Total: page.Total, SoldOut: page.SoldOut, Form: form}
	if view.Products, err = c.withStock(rc, page.Products); err != nil {
		return nil, err
	}
	view.Newer, view.Next = pageLinks(Prefix+"/products", number, int64(number)*productsPerPage < page.Total)
	return view, nil
}

// createProduct adds a product.
func (c *Console) createProduct(rc *requestContext) (any, error) {
	values, err := rc.form()
	if err != nil {
		return nil, err
	}
	form := readProductForm(values)
	body := map[string]any{"name": form.Name, "price": form.Price, "stock": number(form.Stock), "idempotency_key": form.Key}
	var reply struct{ Data struct{ ID int64 } }
	if err := rc.call(http.MethodPost, "/products", body, &reply); err != nil {
		view, viewErr := c.productsView(rc, form)
		if viewErr != nil {
			return nil, err
		}
		return view, err
	}
	return nil, seeOther(Prefix + "/products/" + strconv.FormatInt(reply.Data.ID, 10))
}

// productView is the data of the page of one product.
type productView struct {
	stockedProduct
	Form productForm
}

func (c *Console) showProduct(rc *requestContext) (any, error) {
	id, err := pathID(rc.r, "Product")
	if err != nil {
		return nil, err
	}
	view, err := c.productView(rc, id)
	if err != nil {
		return nil, err
	}
	return view, nil
}

func (c *Console) productView(rc *requestContext, id int64) (*productView, error) {
	found, err := c.options.Store.ProductsByID(rc.r.Context(), []int64{id})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, order.NotFound("Product " + strconv.FormatInt(id, 10))
	}
	products, err := c.withStock(rc, found)
	if err != nil {
		return nil, err
	}
	form := newForm()
	form.Name, form.Price = products[0].Name, products[0].Price.String()
	return &productView{products[0], form}, nil
}

// changeProduct changes the fields that the form has: name and price, or active.
func (c *Console) changeProduct(rc *requestContext) (any, error) {
	return c.updateProduct(rc, http.MethodPatch, "", func(values url.Values) map[string]any {
		body := map[string]any{}
		for _, field := range []string{"name", "price"} {
			if values.Has(field) {
				body[field] = strings.TrimSpace(values.Get(field))
			}
		}
		if values.Has("active") {
			body["active"] = boolean(values.Get("active"))
		}
		return body
	})
}

// restockProduct adds units to the stock, or removes some.
func (c *Console) restockProduct(rc *requestContext) (any, error) {
	return c.updateProduct(rc, http.MethodPost, "/restock", func(values url.Values) map[string]any {
		form := readProductForm(values)
		return map[string]any{"quantity": number(form.Quantity), "reason": form.Reason, "idempotency_key": form.Key}
	})
}

// updateProduct sends a form to the API's path of the product and redirects to the product. On an error it shows the form as it
// was sent.
func (c *Console) updateProduct(rc *requestContext, method, path string, body func(url.Values) map[string]any) (any, error) {
	id, err := pathID(rc.r, "Product")
	if err != nil {
		return nil, err
	}
	values, err := rc.form()
	if err != nil {
		return nil, err
	}
	product := "/products/" + strconv.FormatInt(id, 10)
	if err := rc.call(method, product+path, body(values), nil); err != nil {
		view, viewErr := c.productView(rc, id)
		if viewErr != nil {
			return nil, err
		}
		sent := readProductForm(values)
		if values.Has("name") {
			view.Form.Name, view.Form.Price = sent.Name, sent.Price
		}
		view.Form.Quantity, view.Form.Reason = sent.Quantity, sent.Reason
		return view, err
	}
	return nil, seeOther(Prefix + product)
}

// number returns a number for JSON, or the text itself if it is not a number: the API then returns the validation error.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return text
}

// boolean is number for true and false.
func boolean(text string) any {
	if value, err := strconv.ParseBool(text); err == nil {
		return value
	}
	return text
}
