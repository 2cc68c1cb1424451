package order

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Movement is a change of stock by hand. The stock of a product is the sum of its movements less the units of its orders.
type Movement struct {
	ProductID int64
	Quantity  int64 // negative: taken out
	Reason    string
	UniqueKey string // of all movements; ProductDraft.UniqueKey or Restock.UniqueKey
	Actor     string
	At        time.Time
}

// maxUniqueKey is the longest unique key in bytes.
const maxUniqueKey = 1020

// uniqueKey returns the unique key for an idempotency key of one kind of request. A key that would be too long together with
// the kind is replaced by its checksum, under a prefix that no other key can have.
func uniqueKey(kind, key string) string {
	if named := kind + ":" + key; len(named) <= maxUniqueKey {
		return named
	}
	sum := sha256.Sum256([]byte(key))
	return kind + "-sha256:" + hex.EncodeToString(sum[:])
}

// Restock is a valid request to put units into stock or take them out. Make one with NewRestock.
type Restock struct {
	ProductID int64
	Quantity  int64 // negative: take out; never 0
	Reason    string
	Key       string // the idempotency key; all administrators share one set of keys
	Actor     string
}

// NewRestock validates a restock. found are the validation errors of fields that could not be read; the CodeValidation error
// has these and all further ones. Whether the product exists is checked later.
func NewRestock(found ValidationErrors, productID, quantity int64, reason, key string) (Restock, error) {
	var rules ValidationErrors
	rules.checkKey(key)
	if quantity == 0 || quantity < -MaxMove || quantity > MaxMove {
		rules.Add("quantity", fmt.Sprintf("must be a whole number from %d to %d, and not 0", -MaxMove, MaxMove))
	}
	rules.checkText("reason", reason, MaxReason)
	if err := found.With(rules); err != nil {
		return Restock{}, err
	}
	return Restock{ProductID: productID, Quantity: quantity, Reason: reason, Key: key}, nil
}

// UniqueKey returns the unique key of the restock's movement.
func (r Restock) UniqueKey() string { return uniqueKey("restock", r.Key) }

// Restocked is the answer to one Restock: its movement, or an error.
type Restocked struct {
	Product  Product // after the movement; of a replay, as it is now
	Movement Movement
	Replayed bool // the movement existed before
	Err      error
}

// ApplyRestocks decides a batch of restocks in their order. existing are the movements with their unique keys, products the locked
// rows of their products, which it updates. It returns an answer for each restock, and the effects. A restock whose key is in use
// is answered with that movement if it repeats the request, and refused otherwise. A refused restock leaves its key unused.
//
// The errors carry CodeKeyReused, CodeNotFound (no such product), CodeInsufficientStock (fewer units left than to be taken out) or
// CodeValidation (a stock above MaxID).
func ApplyRestocks(now time.Time, restocks []Restock, existing map[string]Movement, products map[int64]Product) ([]Restocked, Effects) {
	answers := make([]Restocked, len(restocks))
	moved := map[string]Movement{}
	var effects Effects
	for i, r := range restocks {
		earlier, found := existing[r.UniqueKey()]
		if !found {
			earlier, found = moved[r.UniqueKey()]
		}
		if found {
			answers[i] = r.replay(earlier, products)
			continue
		}
		p, err := r.move(products)
		if err != nil {
			answers[i].Err = err
			continue
		}
		products[p.ID] = p
		m := Movement{
			ProductID: r.ProductID, Quantity: r.Quantity, Reason: r.Reason, UniqueKey: r.UniqueKey(), Actor: r.Actor, At: now,
		}
		moved[m.UniqueKey] = m
		effects.move(m.ProductID, m.Quantity)
		effects.Movements = append(effects.Movements, m)
		answers[i] = Restocked{Product: p, Movement: m}
	}
	return answers, effects
}

// replay answers a restock whose key belongs to a movement.
func (r Restock) replay(found Movement, products map[int64]Product) Restocked {
	if found.ProductID != r.ProductID || found.Quantity != r.Quantity || found.Reason != r.Reason {
		return Restocked{Err: Errorf(CodeKeyReused, "The idempotency key was used for another restock. Use a new key for a new restock.")}
	}
	return Restocked{Product: products[r.ProductID], Movement: found, Replayed: true}
}

// move returns the product after the restock, or the error that refuses it.
func (r Restock) move(products map[int64]Product) (Product, error) {
	p, ok := products[r.ProductID]
	switch {
	case !ok:
		return p, NotFound(fmt.Sprintf("Product %d", r.ProductID))
	case p.Stock+r.Quantity < 0:
		return p, &Error{
			Code: CodeInsufficientStock, ProductID: p.ID, Requested: -r.Quantity, Available: p.Stock,
			Message: fmt.Sprintf("Product %d has %d left; %d cannot be taken out.", p.ID, p.Stock, -r.Quantity),
		}
	case p.Stock+r.Quantity > MaxID: // stock is a JSON number too
		return p, Invalid("quantity", fmt.Sprintf("leads to a stock above %d", int64(MaxID)))
	}
	p.Stock += r.Quantity
	return p, nil
}
