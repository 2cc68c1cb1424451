package order

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a request to order.
const (
	MaxLines         = 100
	MaxQuantity      = 1_000_000
	MaxKeyLength     = 255 // characters
	MaxPaymentMethod = 255 // characters
)

// Line is a requested quantity of one product.
type Line struct{ ProductID, Quantity int64 }

// Draft is a valid request to order. Make one with NewDraft.
type Draft struct {
	UserID        int64
	Key           string
	Lines         []Line // ascending by product, each product once
	Requested     []Line // as the client sent them: error messages refer to these
	PaymentMethod string
	Fingerprint   Fingerprint
	Actor         string
	Trace         Trace
}

// OrderKey returns the draft's user and key.
func (d Draft) OrderKey() OrderKey { return OrderKey{d.UserID, d.Key} }

// Fingerprint identifies the items of a request: a version byte, then the SHA-256 of the normalised lines. The payment method
// is not part of it: a client that retries with a fresh payment token repeats its request.
type Fingerprint [1 + sha256.Size]byte

// fingerprintVersion changes with the normal form, so that new rules never compare with the fingerprints of old rows.
const fingerprintVersion = 1

func fingerprint(lines []Line) Fingerprint {
	var buffer [2 * 8 * 8]byte
	form := buffer[:0]
	for _, line := range lines {
		form = binary.BigEndian.AppendUint64(form, uint64(line.ProductID))
		form = binary.BigEndian.AppendUint64(form, uint64(line.Quantity))
	}
	f := Fingerprint{fingerprintVersion}
	sum := sha256.Sum256(form)
	copy(f[1:], sum[:])
	return f
}

// NewDraft validates a request to order and normalises its lines. found are the validation errors of fields that could not be
// read. The CodeValidation error has these and all further ones (of the lines, those of the first MaxLines). Whether the user
// and the products exist is checked later: see Missing. The draft keeps lines.
func NewDraft(found ValidationErrors, userID int64, key string, lines []Line, paymentMethod string) (Draft, error) {
	var rules ValidationErrors
	if !ValidID(userID) {
		rules.Add("user_id", "must be the id of a user")
	}
	rules.checkKey(key)
	if len(lines) < 1 || len(lines) > MaxLines {
		rules.Add("items", fmt.Sprintf("must have 1 to %d entries", MaxLines))
	}
	if utf8.RuneCountInString(paymentMethod) > MaxPaymentMethod {
		rules.Add("payment_method", fmt.Sprintf("must have at most %d characters", MaxPaymentMethod))
	}
	if !utf8.ValidString(paymentMethod) {
		rules.Add("payment_method", "must be valid UTF-8")
	}
	if strings.ContainsRune(paymentMethod, 0) { // texts of PostgreSQL cannot contain it
		rules.Add("payment_method", "must have no NUL character")
	}
	requested := lines[:min(len(lines), MaxLines)]
	lines, exceeding := normalise(requested)
	for _, i := range exceeding {
		rules.Add(LineField(i, "quantity"), fmt.Sprintf("must be at most %d, also after the same product is added up", MaxQuantity))
	}
	for i, line := range requested {
		if line.valid() {
			continue
		}
		if len(found) > 0 && found[LineField(i, "")] != nil {
			continue // the line is not an object, so it has no fields
		}
		rules.checkLine(i, line)
	}
	if err := found.With(rules); err != nil {
		return Draft{}, err
	}
	return Draft{
		UserID: userID, Key: key, Lines: lines, Requested: requested, PaymentMethod: paymentMethod, Fingerprint: fingerprint(lines),
	}, nil
}

// LineField names a field of the i-th line, or the line itself when field is "".
func LineField(i int, field string) string {
	name := "items." + strconv.Itoa(i)
	if field != "" {
		name += "." + field
	}
	return name
}

func (l Line) valid() bool {
	return ValidID(l.ProductID) && l.Quantity >= 1 && l.Quantity <= MaxQuantity
}

// checkLine checks the i-th line of a request.
func (v *ValidationErrors) checkLine(i int, line Line) {
	if !ValidID(line.ProductID) {
		v.Add(LineField(i, "product_id"), "must be the id of a product")
	}
	if line.Quantity < 1 || line.Quantity > MaxQuantity {
		v.Add(LineField(i, "quantity"), fmt.Sprintf("must be a whole number from 1 to %d", MaxQuantity))
	}
}

// normalise sorts the lines by product and adds up those of one product; lines without a valid product id are left out.
// exceeding are the lines with which the sum of a product first exceeds MaxQuantity, except lines that exceed it alone.
func normalise(requested []Line) (lines []Line, exceeding []int) {
	ascending := true
	for i := 1; i < len(requested); i++ {
		ascending = ascending && requested[i-1].ProductID < requested[i].ProductID
	}
	if ascending {
		return requested, nil
	}
	sums := make(map[int64]int64, len(requested))
	for i, line := range requested {
		if !ValidID(line.ProductID) {
			continue
		}
		before := sums[line.ProductID]
		sums[line.ProductID] = min(before+min(line.Quantity, MaxQuantity+1), MaxQuantity+1)
		if before <= MaxQuantity && sums[line.ProductID] > MaxQuantity && line.Quantity <= MaxQuantity {
			exceeding = append(exceeding, i)
		}
	}
	for product, quantity := range sums {
		lines = append(lines, Line{product, quantity})
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(a.ProductID, b.ProductID) })
	return lines, exceeding
}

// Missing returns the CodeValidation error for the user and the products of the draft that do not exist, or nil.
func (d Draft) Missing(userExists bool, productExists func(id int64) bool) error {
	var missing ValidationErrors
	if !userExists {
		missing.Add("user_id", "does not exist")
	}
	for i, line := range d.Requested {
		if !productExists(line.ProductID) {
			missing.Add(LineField(i, "product_id"), "does not exist")
		}
	}
	return missing.Err()
}

// otherCurrency returns the CodeValidation error for the products of the draft with a price in another currency: that amount
// must not be charged in this one.
func (d Draft) otherCurrency(products map[int64]Product, currency string) error {
	var other ValidationErrors
	for i, line := range d.Requested {
		if its := products[line.ProductID].Currency; its != currency {
			other.Add(LineField(i, "product_id"), fmt.Sprintf("has a price in %s, but orders are in %s", its, currency))
		}
	}
	return other.Err()
}
