package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

// Admin is what administrators may ask of the database. The writes are one whole transaction each, and their errors carry
// CodeUnavailable; what one member of the slice is told stands in its answer.
type Admin interface {
	// CreateProducts answers each draft with a product, new or found again, or CodeKeyReused.
	CreateProducts(ctx context.Context, drafts []order.ProductDraft) ([]order.Added, error)
	// ChangeProducts answers each change with the product as it is afterwards, or CodeNotFound.
	ChangeProducts(ctx context.Context, changes []order.ProductChange) ([]order.ProductAnswer, error)
	// Restock answers each restock with its movement, new or found again; its codes are those of order.ApplyRestocks.
	Restock(ctx context.Context, restocks []order.Restock) ([]order.Restocked, error)
	// JobPage returns a page of dead letters, open ones first.
	FailedJobPage(ctx context.Context, page, perPage int) (order.FailedJobPage, error)
	// Stats counts what an operator wants to know. It may take seconds.
	Stats(ctx context.Context) (order.Stats, error)
}

// FailedJobService deals with dead letters, as worker.FailedJobService does: it says which codes their errors carry. What Abandon has begun it
// brings to its end, also when ctx ends meanwhile.
type FailedJobService interface {
	Retry(ctx context.Context, jobID int64) (*order.Order, error)
	Abandon(ctx context.Context, jobID int64, operator string) (*order.Order, error)
}

// Auditor proves the books. WriteAudit writes the report as JSON, whether or not they hold.
type Auditor interface {
	WriteAudit(ctx context.Context, w io.Writer) error
}

func (a *API) createProduct(x *requestContext) error {
	draft, err := a.readProduct(x)
	if err != nil {
		return err
	}
	answers, err := a.options.Admin.CreateProducts(x.r.Context(), []order.ProductDraft{draft})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	added := answers[0]
	status := http.StatusCreated
	if added.Replayed {
		status = http.StatusOK
		x.Header()["Idempotent-Replayed"] = a.fixed.replayed
	} else {
		x.logAdmin("a product was added", "product.created", slog.Int64("product_id", added.Product.ID))
	}
	a.dropProducts(x.r.Context())
	x.product(status, added.Product)
	return nil
}

// readProduct reads and checks the body of a request for a new product.
func (a *API) readProduct(x *requestContext) (order.ProductDraft, error) {
	var body productBody
	if err := a.readChange(x, func(r *bodyReader) { r.product(&body) }); err != nil {
		return order.ProductDraft{}, err
	}
	body.merge(x.r.Header["Idempotency-Key"], &body.faults)
	draft, err := order.NewProductDraft(order.ValidationErrors(body.faults), body.key, body.name, body.price, body.stock, body.active)
	draft.Actor = x.caller.Actor()
	return draft, err
}

// readChange reads the body of a request for a change that a page of a strange origin may not ask for.
func (a *API) readChange(x *requestContext, read func(*bodyReader)) error {
	if err := a.origins.CheckChange(x.r); err != nil {
		return err
	}
	raw, err := x.readBody()
	if err != nil {
		return err
	}
	return x.decode(raw, read)
}

func (a *API) changeProduct(x *requestContext) error {
	id, err := idInPath(x.r, "product")
	if err != nil {
		return err
	}
	var body changeBody
	if err := a.readChange(x, func(r *bodyReader) { r.change(&body) }); err != nil {
		return err
	}
	change, err := order.NewProductChange(order.ValidationErrors(body.faults), id, body.name, body.price, body.active)
	if err != nil {
		return err
	}
	answers, err := a.options.Admin.ChangeProducts(x.r.Context(), []order.ProductChange{change})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	x.logChange(answers[0].Before, answers[0].Product)
	a.dropProducts(x.r.Context())
	x.product(http.StatusOK, &answers[0].Product)
	return nil
}

func (a *API) restockProduct(x *requestContext) error {
	id, err := idInPath(x.r, "product")
	if err != nil {
		return err
	}
	var body restockBody
	if err := a.readChange(x, func(r *bodyReader) { r.restock(&body) }); err != nil {
		return err
	}
	body.merge(x.r.Header["Idempotency-Key"], &body.faults)
	restock, err := order.NewRestock(order.ValidationErrors(body.faults), id, body.quantity, body.reason, body.key)
	if err != nil {
		return err
	}
	restock.Actor = x.caller.Actor()
	answers, err := a.options.Admin.Restock(x.r.Context(), []order.Restock{restock})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	moved := answers[0]
	status := http.StatusCreated
	if moved.Replayed {
		status = http.StatusOK
		x.Header()["Idempotent-Replayed"] = a.fixed.replayed
	} else {
		x.logAdmin("pieces were moved by hand", "product.restocked", slog.Int64("product_id", id), slog.Int64("quantity", restock.Quantity),
			slog.Int64("stock", moved.Product.Stock))
	}
	a.dropProducts(x.r.Context())
	x.out = append(x.out[:0], `{"data":{"product":`...)
	x.out = appendProduct(x.out, &moved.Product)
	x.out = append(x.out, `,"movement":`...)
	x.out = appendMovement(x.out, &moved.Movement, restock.Key)
	x.out = append(x.out, '}', '}', '\n')
	x.json(status, x.out)
	return nil
}

// product answers with one product.
func (x *requestContext) product(status int, p *order.Product) {
	x.out = append(x.out[:0], `{"data":`...)
	x.out = appendProduct(x.out, p)
	x.out = append(x.out, '}', '\n')
	x.json(status, x.out)
}

// appendMovement appends a movement with the idempotency key of the request that made it.
func appendMovement(dst []byte, m *order.Movement, key string) []byte {
	dst = append(dst, `{"product_id":`...)
	dst = strconv.AppendInt(dst, m.ProductID, 10)
	dst = append(dst, `,"quantity":`...)
	dst = strconv.AppendInt(dst, m.Quantity, 10)
	dst = append(dst, `,"reason":`...)
	dst = web.AppendString(dst, m.Reason)
	dst = append(dst, `,"idempotency_key":`...)
	dst = web.AppendString(dst, key)
	dst = append(dst, `,"actor":`...)
	dst = web.AppendString(dst, m.Actor)
	dst = append(dst, `,"created_at":`...)
	dst = appendTime(dst, m.At)
	return append(dst, '}')
}

// logChange writes a line about a product that an administrator changed: with each changed field as it was and as it is. There is
// no line for a request that changed nothing.
func (x *requestContext) logChange(before, after order.Product) {
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
		x.logAdmin("a product was changed", "product.changed", attrs...)
	}
}

// logAdmin writes a line about what an administrator changed.
func (x *requestContext) logAdmin(message, event string, attrs ...slog.Attr) {
	x.api.options.Logger.LogAttrs(x.r.Context(), slog.LevelInfo, message, append([]slog.Attr{
		slog.String("event", event), slog.String("actor", x.caller.Actor()), slog.String("trace_id", x.trace.ID),
	}, attrs...)...)
}
