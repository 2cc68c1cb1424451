package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"orderflow/internal/order"
)

// productsAge is how old the list of products may be.
const productsAge = time.Second

// productJSON is a product as answers show it.
type productJSON struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Price     string    `json:"price"`
	Currency  string    `json:"currency"`
	Stock     int64     `json:"stock"`
	Active    bool      `json:"active"`
	CreatedAt timestamp `json:"created_at"`
}

func newProductJSON(p *order.Product) productJSON {
	return productJSON{p.ID, p.Name, p.Price.String(), p.Currency, p.Stock, p.Active, timestamp(p.CreatedAt)}
}

func (a *API) listProducts(rc *requestContext) error {
	body, err := a.products.get(rc.r.Context())
	if err != nil {
		return err
	}
	return rc.jsonLarge(body)
}

// fetchShared returns the list from the cache that processes share, or else from the database.
func (a *API) fetchShared(ctx context.Context) ([]byte, error) {
	began := time.Now()
	list, version, err := a.options.Products.Get(ctx)
	if err == nil && list != nil {
		return list, nil
	}
	list, fetchErr := a.fetchProducts(ctx)
	if fetchErr == nil && err == nil {
		_ = a.options.Products.Put(ctx, version, list, productsAge-time.Since(began)) // on an error the next request reads the database too
	}
	return list, fetchErr
}

// fetchProducts reads the products and returns the answer that all requests share. It must not be changed.
func (a *API) fetchProducts(ctx context.Context) ([]byte, error) {
	products, err := a.options.Reader.Products(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]productJSON, len(products))
	for i := range products {
		list[i] = newProductJSON(&products[i])
	}
	body, err := json.Marshal(data[[]productJSON]{list})
	return append(body, '\n'), err
}

// invalidateProducts drops the list in this process and in the cache that processes share. An order needs to drop only its own
// process's list: the round trip that releases its product locks invalidates the shared one.
func (a *API) invalidateProducts(ctx context.Context) {
	if a.options.Products != nil {
		_ = a.options.Products.Drop(context.WithoutCancel(ctx)) // on an error other processes show the old list for up to a second
	}
	a.products.invalidate()
}

func (a *API) createProduct(rc *requestContext) error {
	var body struct {
		key    bodyKey
		name   string
		price  order.Money
		stock  int64
		active bool
	}
	body.active = true
	invalid, err := rc.readJSON(func(r *bodyReader) {
		r.object(func(name []byte) bool {
			switch string(name) {
			case keyField:
				body.key = r.key()
			case "name":
				body.name = r.text("name")
			case "price":
				body.price = r.money("price")
			case "stock":
				body.stock = r.integer("stock")
			case "active":
				body.active = r.boolean("active")
			default:
				return false
			}
			return true
		}, "name", "price")
	})
	if err != nil {
		return err
	}
	key := rc.idempotencyKey(body.key, &invalid)
	draft, err := order.NewProductDraft(invalid, key, body.name, body.price, body.stock, body.active)
	if err != nil {
		return err
	}
	draft.Actor = rc.caller.Actor()
	answers, err := a.options.Admin.CreateProducts(rc.r.Context(), []order.ProductDraft{draft})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	added := answers[0]
	if !added.Replayed {
		rc.logAdmin("A product was created.", "product.created", slog.Int64("product_id", added.Product.ID))
	}
	a.invalidateProducts(rc.r.Context())
	return rc.value(rc.created(added.Replayed), data[productJSON]{newProductJSON(added.Product)})
}

// created returns the status of an answer with a resource: 201 when the request created it, and 200 when an earlier request with the
// same key did.
func (rc *requestContext) created(replayed bool) int {
	if !replayed {
		return http.StatusCreated
	}
	rc.Header()["Idempotent-Replayed"] = rc.api.fixed.replayed
	return http.StatusOK
}

func (a *API) changeProduct(rc *requestContext) error {
	id, err := pathID(rc.r, "product")
	if err != nil {
		return err
	}
	var change struct { // nil: the body does not have the field
		name   *string
		price  *order.Money
		active *bool
	}
	invalid, err := rc.readJSON(func(r *bodyReader) {
		r.object(func(name []byte) bool {
			switch string(name) {
			case "name":
				change.name = new(r.text("name"))
			case "price":
				change.price = new(r.money("price"))
			case "active":
				change.active = new(r.boolean("active"))
			case "stock": // a client would not expect it to be ignored like an unknown field
				r.skip()
				r.invalid("stock", "cannot be set; POST to /products/{id}/restock")
			default:
				return false
			}
			return true
		})
	})
	if err != nil {
		return err
	}
	draft, err := order.NewProductChange(invalid, id, change.name, change.price, change.active)
	if err != nil {
		return err
	}
	answers, err := a.options.Admin.ChangeProducts(rc.r.Context(), []order.ProductChange{draft})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	rc.logProductChange(answers[0].Before, answers[0].Product)
	a.invalidateProducts(rc.r.Context())
	return rc.value(http.StatusOK, data[productJSON]{newProductJSON(&answers[0].Product)})
}

// logProductChange writes a line with the old and new value of each field that changed, or none when nothing changed.
func (rc *requestContext) logProductChange(before, after order.Product) {
	attrs := []slog.Attr{slog.Int64("product_id", after.ID)}
	if before.Name != after.Name {
		attrs = append(attrs, slog.String("name_before", before.Name), slog.String("name_after", after.Name))
	}
	if before.Price != after.Price {
		attrs = append(attrs, slog.String("price_before", before.Price.String()), slog.String("price_after", after.Price.String()))
	}
	if before.Active != after.Active {
		attrs = append(attrs, slog.Bool("active_before", before.Active), slog.Bool("active_after", after.Active))
	}
	if len(attrs) > 1 {
		rc.logAdmin("A product was changed.", "product.changed", attrs...)
	}
}

// movementJSON is a stock movement as answers show it.
type movementJSON struct {
	ProductID int64     `json:"product_id"`
	Quantity  int64     `json:"quantity"`
	Reason    string    `json:"reason"`
	Key       string    `json:"idempotency_key"` // of the request that made it
	Actor     string    `json:"actor"`
	CreatedAt timestamp `json:"created_at"`
}

// restockJSON is the answer to a restock.
type restockJSON struct {
	Product  productJSON  `json:"product"`
	Movement movementJSON `json:"movement"`
}

func (a *API) restockProduct(rc *requestContext) error {
	id, err := pathID(rc.r, "product")
	if err != nil {
		return err
	}
	var body struct {
		key      bodyKey
		quantity int64
		reason   string
	}
	invalid, err := rc.readJSON(func(r *bodyReader) {
		r.object(func(name []byte) bool {
			switch string(name) {
			case keyField:
				body.key = r.key()
			case "quantity":
				body.quantity = r.integer("quantity")
			case "reason":
				body.reason = r.text("reason")
			default:
				return false
			}
			return true
		}, "quantity", "reason")
	})
	if err != nil {
		return err
	}
	key := rc.idempotencyKey(body.key, &invalid)
	restock, err := order.NewRestock(invalid, id, body.quantity, body.reason, key)
	if err != nil {
		return err
	}
	restock.Actor = rc.caller.Actor()
	answers, err := a.options.Admin.Restock(rc.r.Context(), []order.Restock{restock})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	moved := answers[0]
	if !moved.Replayed {
		rc.logAdmin("Units were moved by hand.", "product.restocked", slog.Int64("product_id", id),
			slog.Int64("quantity", restock.Quantity), slog.Int64("stock", moved.Product.Stock))
	}
	a.invalidateProducts(rc.r.Context())
	m := &moved.Movement
	return rc.value(rc.created(moved.Replayed), data[restockJSON]{restockJSON{
		newProductJSON(&moved.Product), movementJSON{m.ProductID, m.Quantity, m.Reason, restock.Key, m.Actor, timestamp(m.At)},
	}})
}
