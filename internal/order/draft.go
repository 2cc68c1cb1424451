package order

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Limits of a request to order.
const (
	MaxLines         = 100
	MaxQuantity      = 1_000_000
	MaxKeyLength     = 255 // characters
	MaxPaymentMethod = 255 // characters
)

// Line is a wish for so many pieces of a product.
type Line struct{ ProductID, Quantity int64 }

// Draft is a well-formed wish to order, not yet an order. Make one with NewDraft.
type Draft struct {
	UserID        int64
	Key           string
	Lines         []Line // ascending by product, each product once
	Requested     []Line // as the caller sent them: error messages point here
	PaymentMethod string
	Fingerprint   Fingerprint
	Actor         string
	Trace         Trace
}

// OrderKey returns the draft's user and key.
func (d Draft) OrderKey() OrderKey { return OrderKey{d.UserID, d.Key} }

// Fingerprint tells whether two requests with one key ask for the same: a version byte, then the SHA-256 of the
// normalised lines. Only the items count: a request repeated with a fresh payment token is the same request.
type Fingerprint [1 + sha256.Size]byte

// fingerprintVersion changes when the normal form does, so that old rows are never compared by a new rule.
const fingerprintVersion = 1

func fingerprint(lines []Line) Fingerprint {
	var room [2 * 8 * 8]byte
	form := room[:0]
	for _, line := range lines {
		form = binary.BigEndian.AppendUint64(form, uint64(line.ProductID))
		form = binary.BigEndian.AppendUint64(form, uint64(line.Quantity))
	}
	mark := Fingerprint{fingerprintVersion}
	sum := sha256.Sum256(form)
	copy(mark[1:], sum[:])
	return mark
}

// NewDraft checks the shape of a request to order and brings it into its normal form. All faults of the shape come in
// one CodeValidation error (of the lines, those of the first MaxLines); whether the user and the products exist is for
// the database to say. The draft keeps asked.
func NewDraft(userID int64, key string, asked []Line, paymentMethod string) (Draft, error) {
	faults := map[string][]string{}
	fault := func(field, message string) { faults[field] = append(faults[field], message) }

	if userID < 1 || userID > MaxID {
		fault("user_id", "must be the id of a user")
	}
	CheckKey(key, fault)
	if len(asked) < 1 || len(asked) > MaxLines {
		fault("items", fmt.Sprintf("must have 1 to %d entries", MaxLines))
	}
	if utf8.RuneCountInString(paymentMethod) > MaxPaymentMethod {
		fault("payment_method", fmt.Sprintf("must have at most %d characters", MaxPaymentMethod))
	}
	if !utf8.ValidString(paymentMethod) {
		fault("payment_method", "must be valid UTF-8")
	}
	asked = asked[:min(len(asked), MaxLines)]
	for i, line := range asked {
		CheckLine(i, line, fault)
	}
	lines, over := normalise(asked)
	for _, i := range over {
		fault(fmt.Sprintf("items.%d.quantity", i), fmt.Sprintf("must be at most %d, also after the same product is added up", MaxQuantity))
	}
	if len(faults) > 0 {
		return Draft{}, InvalidFields(faults)
	}
	return Draft{
		UserID: userID, Key: key, Lines: lines, Requested: asked, PaymentMethod: paymentMethod, Fingerprint: fingerprint(lines),
	}, nil
}

// CheckKey reports what is wrong with an idempotency key, if anything. It comes from a body or from a header, where any
// bytes may stand; what is no UTF-8 could be kept, but never be answered as it was.
func CheckKey(key string, fault func(field, message string)) {
	if n := utf8.RuneCountInString(key); n < 1 || n > MaxKeyLength {
		fault("idempotency_key", fmt.Sprintf("must have 1 to %d characters", MaxKeyLength))
	}
	if !utf8.ValidString(key) {
		fault("idempotency_key", "must be valid UTF-8")
	}
}

// CheckLine reports what is wrong with the i-th line of a request, if anything.
func CheckLine(i int, line Line, fault func(field, message string)) {
	if line.ProductID < 1 || line.ProductID > MaxID {
		fault(fmt.Sprintf("items.%d.product_id", i), "must be the id of a product")
	}
	if line.Quantity < 1 || line.Quantity > MaxQuantity {
		fault(fmt.Sprintf("items.%d.quantity", i), fmt.Sprintf("must be a whole number from 1 to %d", MaxQuantity))
	}
}

// normalise sorts the lines by product and adds up those of one product. It names the line with which a product passed
// MaxQuantity, unless that line is over by itself.
func normalise(asked []Line) (lines []Line, over []int) {
	ascending := func(a, b Line) int { return cmp.Compare(a.ProductID, b.ProductID) }
	strictly := true
	for i := 1; i < len(asked); i++ {
		strictly = strictly && asked[i-1].ProductID < asked[i].ProductID
	}
	if strictly {
		return asked, nil
	}
	sums := make(map[int64]int64, len(asked))
	for i, line := range asked {
		before := sums[line.ProductID]
		sums[line.ProductID] = min(before+min(line.Quantity, MaxQuantity+1), MaxQuantity+1)
		if before <= MaxQuantity && sums[line.ProductID] > MaxQuantity && line.Quantity <= MaxQuantity {
			over = append(over, i)
		}
	}
	for product, quantity := range sums {
		lines = append(lines, Line{product, quantity})
	}
	slices.SortFunc(lines, ascending)
	return lines, over
}

// Unknown returns the CodeValidation error for a draft whose user or products do not exist, or nil when all do.
func (d Draft) Unknown(userExists bool, productExists func(id int64) bool) error {
	faults := map[string][]string{}
	if !userExists {
		faults["user_id"] = []string{"does not exist"}
	}
	for i, line := range d.Requested {
		if !productExists(line.ProductID) {
			faults[fmt.Sprintf("items.%d.product_id", i)] = []string{"does not exist"}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return InvalidFields(faults)
}

// otherCurrency returns the CodeValidation error for a draft of products whose prices are in another currency: the number of
// such a price would be charged in this one.
func (d Draft) otherCurrency(products map[int64]Product, currency string) error {
	faults := map[string][]string{}
	for i, line := range d.Requested {
		if its := products[line.ProductID].Currency; its != currency {
			faults[fmt.Sprintf("items.%d.product_id", i)] = []string{fmt.Sprintf("is priced in %s, and orders are taken in %s", its, currency)}
		}
	}
	return InvalidFields(faults)
}
