package order

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// Movement is pieces that were put into stock or taken out of it by hand. All movements of a product and its orders
// together prove its stock.
type Movement struct {
	ProductID int64
	Quantity  int64 // negative: taken out
	Reason    string
	UniqueKey string // among all movements: of a request, ProductDraft.UniqueKey or Restock.UniqueKey
	Actor     string
	At        time.Time
}

// maxUniqueKey is how many bytes of a unique key are kept.
const maxUniqueKey = 1020

// uniqueKey tells the idempotency keys of one kind of request from those of another. A key of 255 long characters and the
// kind together would be too long: of such a one its checksum is kept, under a name that no other key can have.
func uniqueKey(kind, key string) string {
	if named := kind + ":" + key; len(named) <= maxUniqueKey {
		return named
	}
	sum := sha256.Sum256([]byte(key))
	return kind + "-sha256:" + hex.EncodeToString(sum[:])
}

// Restock is a well-formed wish to put pieces into stock, or to take some out. Make one with NewRestock.
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
	if err := found.with(rules); err != nil {
		return Restock{}, err
	}
	return Restock{ProductID: productID, Quantity: quantity, Reason: reason, Key: key}, nil
}

// UniqueKey is the name of the movement that the restock writes.
func (r Restock) UniqueKey() string { return uniqueKey("restock", r.Key) }

// Restocked is the answer to one Restock: the movement with the product after it (of a replay: as it is now), or an error.
type Restocked struct {
	Product  Product
	Movement Movement
	Replayed bool // the movement was there before
	Err      error
}

// ApplyRestocks decides a batch of restocks, first come, first served. existing holds the movements found under their unique
// keys, products the locked rows of all products named; products is changed to what they become. A restock whose key is in
// use is answered with that movement when it asks for the same, else refused; a refused one does not use its key up.
//
// It returns an answer for each restock, in their order, and what to write. The errors carry CodeKeyReused, CodeNotFound
// (no such product), CodeInsufficientStock (fewer pieces there than are to be taken out) or CodeValidation (more pieces
// than a number can say).
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

// replay is the answer to a restock whose key found a movement.
func (r Restock) replay(found Movement, products map[int64]Product) Restocked {
	if found.ProductID != r.ProductID || found.Quantity != r.Quantity || found.Reason != r.Reason {
		return Restocked{Err: Errorf(CodeKeyReused, "The idempotency key was used for another restock. Use a new key for a new restock.")}
	}
	return Restocked{Product: products[r.ProductID], Movement: found, Replayed: true}
}

// move returns the product as the restock leaves it, or says why it cannot.
func (r Restock) move(products map[int64]Product) (Product, error) {
	p, ok := products[r.ProductID]
	switch {
	case !ok:
		return p, NotFound(fmt.Sprintf("Product %d", r.ProductID))
	case p.Stock+r.Quantity < 0:
		return p, &Error{
			Code: CodeInsufficientStock, ProductID: p.ID, Requested: -r.Quantity, Available: p.Stock,
			Message: fmt.Sprintf("Product %d has %d left, %d were to be taken out.", p.ID, p.Stock, -r.Quantity),
		}
	case p.Stock+r.Quantity > MaxID: // stock travels as a JSON number, too
		return p, Invalid("quantity", fmt.Sprintf("would make the stock more than %d", int64(MaxID)))
	}
	p.Stock += r.Quantity
	return p, nil
}
