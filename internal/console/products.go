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

// shelf is a product with what was ever put in of it.
type shelf struct {
	order.Product
	PutIn int64
}

// SoldOut reports whether none is left.
func (s shelf) SoldOut() bool { return s.Stock == 0 }

// Most is what a full bar stands for: all that was put in, or what is there if that is more.
func (s shelf) Most() int64 { return max(1, s.PutIn, s.Stock) }

// productsView is what the page Products shows.
type productsView struct {
	Shelves     []shelf
	Total, Sold int64 // products in all, and those sold out
	Newer, Next string
	Form        productForm // for a new one
}

// productForm is a form for a product, as somebody filled it in.
type productForm struct {
	Name, Price, Stock, Quantity, Reason string
	Key                                  string // drawn with the form: sent twice, it counts once
}

func newForm() productForm { return productForm{Key: rand.Text()} }

func readProductForm(form url.Values) productForm {
	return productForm{
		Name: form.Get("name"), Price: strings.TrimSpace(form.Get("price")), Stock: strings.TrimSpace(form.Get("stock")),
		Quantity: strings.TrimSpace(form.Get("quantity")), Reason: form.Get("reason"), Key: form.Get("key"),
	}
}

// shelves are the products with what was put in of them.
func (c *Console) shelves(v *requestContext, products []order.Product) ([]shelf, error) {
	ids := make([]int64, len(products))
	for i := range products {
		ids[i] = products[i].ID
	}
	putIn, err := c.options.Shop.StockAdded(v.r.Context(), ids)
	if err != nil {
		return nil, err
	}
	all := make([]shelf, len(products))
	for i, p := range products {
		all[i] = shelf{p, putIn[p.ID]}
	}
	return all, nil
}

func (c *Console) showProducts(v *requestContext) (any, error) { return c.productsView(v, newForm()) }

func (c *Console) productsView(v *requestContext, form productForm) (any, error) {
	number, err := pageNumber(v.query)
	if err != nil {
		return nil, err
	}
	page, err := c.options.Shop.ProductPage(v.r.Context(), number, productsPerPage)
	if err != nil {
		return nil, err
	}
	view := &productsView{Total: page.Total, Sold: page.SoldOut, Form: form}
	if view.Shelves, err = c.shelves(v, page.Products); err != nil {
		return nil, err
	}
	view.Newer, view.Next = pageLinks(Prefix+"/products", number, int64(number)*productsPerPage < page.Total)
	return view, nil
}

// createProduct adds a product.
func (c *Console) createProduct(v *requestContext) (any, error) {
	values, err := v.form()
	if err != nil {
		return nil, err
	}
	form := readProductForm(values)
	body := map[string]any{"name": form.Name, "price": form.Price, "stock": number(form.Stock), "idempotency_key": form.Key}
	var reply struct{ Data struct{ ID int64 } }
	if err := c.do(v, http.MethodPost, "/products", body, &reply); err != nil {
		view, broken := c.productsView(v, form)
		if broken != nil {
			return nil, err
		}
		return view, err
	}
	return nil, seeOther(Prefix + "/products/" + strconv.FormatInt(reply.Data.ID, 10))
}

// productView is what the page of one product shows.
type productView struct {
	shelf
	Form productForm
}

func (c *Console) showProduct(v *requestContext) (any, error) {
	id, err := idIn(v.r, "Product")
	if err != nil {
		return nil, err
	}
	view, err := c.productView(v, id)
	if err != nil {
		return nil, err
	}
	return view, nil
}

func (c *Console) productView(v *requestContext, id int64) (*productView, error) {
	products, err := c.options.Shop.ProductsByID(v.r.Context(), []int64{id})
	if err != nil {
		return nil, err
	}
	if len(products) == 0 {
		return nil, order.NotFound("Product " + strconv.FormatInt(id, 10))
	}
	shelves, err := c.shelves(v, products)
	if err != nil {
		return nil, err
	}
	form := newForm()
	form.Name, form.Price = shelves[0].Name, shelves[0].Price.String()
	return &productView{shelves[0], form}, nil
}

// changeProduct changes what the form has: name and price, or whether it is sold.
func (c *Console) changeProduct(v *requestContext) (any, error) {
	return c.onProduct(v, http.MethodPatch, "", func(values url.Values) map[string]any {
		body := map[string]any{}
		for _, field := range []string{"name", "price"} {
			if values.Has(field) {
				body[field] = strings.TrimSpace(values.Get(field))
			}
		}
		if values.Has("active") {
			body["active"] = truth(values.Get("active"))
		}
		return body
	})
}

// truth is what a field says, or the field as it is, for the API to say what it must be.
func truth(field string) any {
	is, err := strconv.ParseBool(field)
	if err != nil {
		return field
	}
	return is
}

// restockProduct puts pieces in, or takes some out.
func (c *Console) restockProduct(v *requestContext) (any, error) {
	return c.onProduct(v, http.MethodPost, "/restock", func(values url.Values) map[string]any {
		form := readProductForm(values)
		return map[string]any{"quantity": number(form.Quantity), "reason": form.Reason, "idempotency_key": form.Key}
	})
}

// onProduct does something with the product that an address names, and leads back to it.
func (c *Console) onProduct(v *requestContext, method, path string, body func(url.Values) map[string]any) (any, error) {
	id, err := idIn(v.r, "Product")
	if err != nil {
		return nil, err
	}
	values, err := v.form()
	if err != nil {
		return nil, err
	}
	at := "/products/" + strconv.FormatInt(id, 10)
	if err := c.do(v, method, at+path, body(values), nil); err != nil {
		view, broken := c.productView(v, id)
		if broken != nil {
			return nil, err
		}
		filled := readProductForm(values)
		if values.Has("name") {
			view.Form.Name, view.Form.Price = filled.Name, filled.Price
		}
		view.Form.Quantity, view.Form.Reason = filled.Quantity, filled.Reason
		return view, err
	}
	return nil, seeOther(Prefix + at)
}

// number is a number for JSON, or the text itself where it is none: the API says then what is wrong with it.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return text
}

// pageNumber is the page that is asked for, from 1.
func pageNumber(query url.Values) (int, error) {
	if !query.Has("page") {
		return 1, nil
	}
	n, err := strconv.Atoi(query.Get("page"))
	if err != nil || n < 1 || n > 100_000 {
		return 0, order.Errorf(order.CodeNotFound, "There is no such page.")
	}
	return n, nil
}

// pageLinks are the addresses of the pages before and after one; "" for none.
func pageLinks(path string, number int, more bool) (before, after string) {
	if number > 1 {
		before = path + "?page=" + strconv.Itoa(number-1)
	}
	if more {
		after = path + "?page=" + strconv.Itoa(number+1)
	}
	return before, after
}
