package order

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Limits of the administration of products.
const (
	MaxName   = 255           // characters of a product's name
	MaxReason = 255           // characters of the reason of a movement
	MaxMove   = 1_000_000_000 // units of one movement, in or out
)

// Product is a product for sale.
type Product struct {
	ID        int64
	Name      string
	Price     Money
	Currency  string
	Stock     int64
	Active    bool // false: not for sale
	CreatedAt time.Time
}

// ProductDraft is a valid request for a new product. Make one with NewProductDraft.
type ProductDraft struct {
	Key    string // the idempotency key; all administrators share one set of keys
	Name   string
	Price  Money
	Stock  int64 // units at the start
	Active bool
	Actor  string
}

// NewProductDraft validates a new product. found are the validation errors of fields that could not be read; the
// CodeValidation error has these and all further ones.
func NewProductDraft(found ValidationErrors, key, name string, price Money, stock int64, active bool) (ProductDraft, error) {
	var rules ValidationErrors
	rules.checkKey(key)
	rules.checkText("name", name, MaxName)
	rules.checkPrice(price)
	if stock < 0 || stock > MaxMove {
		rules.Add("stock", fmt.Sprintf("must be a whole number from 0 to %d", MaxMove))
	}
	if err := found.With(rules); err != nil {
		return ProductDraft{}, err
	}
	return ProductDraft{Key: key, Name: name, Price: price, Stock: stock, Active: active}, nil
}

// UniqueKey returns the unique key of the product's first movement.
func (d ProductDraft) UniqueKey() string { return uniqueKey("product", d.Key) }

// reason returns the reason of the first movement. Its version and checksum distinguish a repeated request from another with the same
// key: the product itself may have changed since.
func (d ProductDraft) reason() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d|%d|%t|%s", d.Price, d.Stock, d.Active, d.Name))
	return "product created (request 1:" + hex.EncodeToString(sum[:]) + ")"
}

// Added is the answer to one ProductDraft: a new product, the product that already has its key, or an error.
type Added struct {
	Product  *Product
	Replayed bool // the product existed before
	Err      error
}

// AddProducts decides a batch of new products in their order. existing are the movements with the drafts' unique keys, products
// the products of these movements. It returns an answer for each draft, and the effects. Each new product has a movement, also
// without stock, since that stores the idempotency key. The only error is CodeKeyReused.
func AddProducts(
	rules Rules, now time.Time, drafts []ProductDraft, existing map[string]Movement, products map[int64]Product,
) ([]Added, Effects) {
	answers := make([]Added, len(drafts))
	var effects Effects
	first := map[string]int{} // unique key → index of its first draft
	for i, d := range drafts {
		if found, ok := existing[d.UniqueKey()]; ok {
			if answers[i].Err = d.differs(found.Reason); answers[i].Err == nil {
				p := products[found.ProductID]
				answers[i].Product, answers[i].Replayed = &p, true
			}
			continue
		}
		if earlier, ok := first[d.UniqueKey()]; ok {
			if answers[i].Err = d.differs(drafts[earlier].reason()); answers[i].Err == nil {
				answers[i].Product, answers[i].Replayed = answers[earlier].Product, true
			}
			continue
		}
		first[d.UniqueKey()] = i
		p := &Product{Name: d.Name, Price: d.Price, Currency: rules.Currency, Stock: d.Stock, Active: d.Active, CreatedAt: now}
		answers[i].Product = p
		effects.NewProducts = append(effects.NewProducts, p)
		effects.Movements = append(effects.Movements, Movement{
			Quantity: d.Stock, Reason: d.reason(), UniqueKey: d.UniqueKey(), Actor: d.Actor, At: now,
		})
	}
	return answers, effects
}

// differs returns CodeKeyReused unless the draft repeats the request whose movement has this reason.
func (d ProductDraft) differs(reason string) error {
	if d.reason() == reason {
		return nil
	}
	return Errorf(CodeKeyReused, "The idempotency key was used for another product. Use a new key for a new product.")
}

// ProductChange is a valid request to change a product; nil leaves a field as it is. Make one with NewProductChange.
type ProductChange struct {
	ProductID int64
	Name      *string
	Price     *Money
	Active    *bool
}

// NewProductChange validates a change of a product. found are the validation errors of fields that could not be read; the
// CodeValidation error has these and all further ones.
func NewProductChange(found ValidationErrors, productID int64, name *string, price *Money, active *bool) (ProductChange, error) {
	var rules ValidationErrors
	if name != nil {
		rules.checkText("name", *name, MaxName)
	}
	if price != nil {
		rules.checkPrice(*price)
	}
	if name == nil && price == nil && active == nil {
		rules.Add("body", "must have a name, a price or active")
	}
	if err := found.With(rules); err != nil {
		return ProductChange{}, err
	}
	return ProductChange{ProductID: productID, Name: name, Price: price, Active: active}, nil
}

// ProductAnswer is the answer to one ProductChange: the product before and after it, or CodeNotFound.
type ProductAnswer struct {
	Before, Product Product
	Err             error
}

// ChangeProducts decides a batch of changes in their order. It returns an answer for each, and the rows to write, ascending. It
// updates products, the locked rows.
func ChangeProducts(products map[int64]Product, changes []ProductChange) (answers []ProductAnswer, rows []Product) {
	answers = make([]ProductAnswer, len(changes))
	changed := map[int64]struct{}{}
	for i, c := range changes {
		p, ok := products[c.ProductID]
		if !ok {
			answers[i].Err = NotFound(fmt.Sprintf("Product %d", c.ProductID))
			continue
		}
		before := p
		if c.Name != nil {
			p.Name = *c.Name
		}
		if c.Price != nil {
			p.Price = *c.Price
		}
		if c.Active != nil {
			p.Active = *c.Active
		}
		if p != before {
			products[p.ID] = p
			changed[p.ID] = struct{}{}
		}
		answers[i].Before, answers[i].Product = before, p
	}
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		rows = append(rows, products[id])
	}
	return answers, rows
}
