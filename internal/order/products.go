package order

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Limits of what an administrator may ask for.
const (
	MaxName   = 255           // characters of a product's name
	MaxReason = 255           // characters of the reason of a movement
	MaxMove   = 1_000_000_000 // pieces in one movement, in or out
)

// ProductDraft is a well-formed wish to sell something new, not yet a product. Make one with NewProductDraft.
type ProductDraft struct {
	Key    string // the idempotency key; all administrators share one set of keys
	Name   string
	Price  Money
	Stock  int64 // pieces to begin with
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
	if err := found.with(rules); err != nil {
		return ProductDraft{}, err
	}
	return ProductDraft{Key: key, Name: name, Price: price, Stock: stock, Active: active}, nil
}

// UniqueKey is the name of the movement that the product's creation writes.
func (d ProductDraft) UniqueKey() string { return uniqueKey("product", d.Key) }

// reason is that of the first movement. It holds what was asked for, as a version and a checksum: the product changes
// later on, and a repetition of the request must still be known from another one under its key.
func (d ProductDraft) reason() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d|%d|%t|%s", d.Price, d.Stock, d.Active, d.Name))
	return "product created (request 1:" + hex.EncodeToString(sum[:]) + ")"
}

// Added is the answer to one ProductDraft: a product, new or found again as it is now, or an error.
type Added struct {
	Product  *Product
	Replayed bool // the product was there before
	Err      error
}

// AddProducts decides a batch of new products, first come, first served. existing holds the movements found under the
// drafts' unique keys, and products the rows of the products that those belong to. It returns an answer for each draft,
// in their order, and what to write. A new product has one movement, which keeps the idempotency key, also without stock.
// The only error is CodeKeyReused.
func AddProducts(
	rules Rules, now time.Time, drafts []ProductDraft, existing map[string]Movement, products map[int64]Product,
) ([]Added, Effects) {
	answers := make([]Added, len(drafts))
	var effects Effects
	first := map[string]int{} // unique key → the draft that was the first with it
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

// differs returns CodeKeyReused when the draft asks for something else than the one that left reason.
func (d ProductDraft) differs(reason string) error {
	if d.reason() == reason {
		return nil
	}
	return Errorf(CodeKeyReused, "The idempotency key was used for another product. Use a new key for a new product.")
}

// ProductChange is a well-formed wish to change a product; nil leaves a field as it is. Make one with NewProductChange.
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
	if err := found.with(rules); err != nil {
		return ProductChange{}, err
	}
	return ProductChange{ProductID: productID, Name: name, Price: price, Active: active}, nil
}

// ProductAnswer is the answer to one ProductChange: the product as it was before and as it is afterwards, or CodeNotFound.
type ProductAnswer struct {
	Before, Product Product
	Err             error
}

// ChangeProducts decides a batch of changes, in their order. It returns an answer for each and the rows that are to be
// written, ascending. products, the rows as they are, is changed to what they become.
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
