package api

import (
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"orderflow/internal/order"
)

// decode reads a body in one pass by read. The error, which carries CodeMalformedJSON, means that the body is no strict
// JSON: it comes before all faults of single fields, wherever it stands.
func (x *requestContext) decode(body []byte, read func(*bodyReader)) error {
	reader, err := x.reader(body)
	if err != nil {
		return err
	}
	read(&reader)
	reader.end()
	return reader.err
}

// productBody is the body of POST /products as far as it was understood.
type productBody struct {
	bodyKey
	name   string
	price  order.Money
	stock  int64
	active bool
	faults faults
}

func (r *bodyReader) product(into *productBody) {
	into.active = true
	has := r.fields(&into.faults, map[string]func(field string){
		"idempotency_key": func(field string) { into.key, into.keyed = r.text(field, &into.faults), true },
		"name":            func(field string) { into.name = r.text(field, &into.faults) },
		"price":           func(field string) { into.price = r.money(field, &into.faults) },
		"stock":           func(field string) { into.stock, _ = r.integer(field, &into.faults) },
		"active":          func(field string) { into.active = r.boolean(field, &into.faults) },
	})
	has.require(&into.faults, "name", "price")
}

// changeBody is the body of PATCH /products/{id} as far as it was understood; nil is what it does not name.
type changeBody struct {
	name   *string
	price  *order.Money
	active *bool
	faults faults
}

func (r *bodyReader) change(into *changeBody) {
	r.fields(&into.faults, map[string]func(field string){
		"name": func(field string) {
			name := r.text(field, &into.faults)
			into.name = &name
		},
		"price": func(field string) {
			price := r.money(field, &into.faults)
			into.price = &price
		},
		"active": func(field string) {
			active := r.boolean(field, &into.faults)
			into.active = &active
		},
		"stock": func(field string) { // to ignore it, as what is unknown, would be a surprise
			r.skip()
			into.faults.add(field, "cannot be set; POST to /products/{id}/restock")
		},
	})
}

// restockBody is the body of POST /products/{id}/restock as far as it was understood.
type restockBody struct {
	bodyKey
	quantity int64
	reason   string
	faults   faults
}

func (r *bodyReader) restock(into *restockBody) {
	has := r.fields(&into.faults, map[string]func(field string){
		"idempotency_key": func(field string) { into.key, into.keyed = r.text(field, &into.faults), true },
		"quantity":        func(field string) { into.quantity, _ = r.integer(field, &into.faults) },
		"reason":          func(field string) { into.reason = r.text(field, &into.faults) },
	})
	has.require(&into.faults, "quantity", "reason")
}

// fieldSet is the names that a body has.
type fieldSet map[string]bool

// require notes a fault for each of these that is missing.
func (has fieldSet) require(faults *faults, names ...string) {
	for _, name := range names {
		if !has[name] {
			faults.add(name, "is required")
		}
	}
}

// fields reads an object whose values are read by name, and returns which were there. Others are skipped.
func (r *bodyReader) fields(faults *faults, read map[string]func(field string)) fieldSet {
	has := fieldSet{}
	object := r.object(func(name []byte) {
		if reader, known := read[string(name)]; known {
			has[string(name)] = true
			reader(string(name))
		} else {
			r.skip()
		}
	})
	if !object {
		faults.add("body", "must be an object")
	}
	return has
}

// money reads an amount as the API writes it: a string. It notes a fault for anything else.
func (r *bodyReader) money(field string, faults *faults) order.Money {
	if r.decoder.PeekKind() != jsontext.KindString {
		faults.add(field, `must be a string such as "29.97", not `+r.describe())
		return 0
	}
	amount, err := order.ParseMoney(r.text(field, faults))
	if invalid, ok := errors.AsType[*order.Error](err); ok && r.err == nil {
		for _, messages := range invalid.Fields {
			faults.move(field, messages)
		}
	}
	return amount
}

// boolean reads true or false; it notes a fault for anything else.
func (r *bodyReader) boolean(field string, faults *faults) bool {
	kind := r.decoder.PeekKind()
	if kind != jsontext.KindTrue && kind != jsontext.KindFalse {
		faults.add(field, "must be true or false, not "+r.describe())
		return false
	}
	r.skip()
	return kind == jsontext.KindTrue
}
