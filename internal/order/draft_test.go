package order

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// invalidFields returns the fields of a validation error, ascending.
func invalidFields(t *testing.T, err error) []string {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeValidation || len(e.Fields) == 0 {
		t.Fatalf("%v is not a validation error with fields", err)
	}
	for field, messages := range e.Fields {
		if len(messages) == 0 || slices.Contains(messages, "") {
			t.Errorf("field %s has no message", field)
		}
	}
	return slices.Sorted(maps.Keys(e.Fields))
}

func draft(t *testing.T, user int64, key string, lines ...Line) Draft {
	t.Helper()
	d, err := NewDraft(nil, user, key, lines, "")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNewDraftErrors(t *testing.T) {
	one := []Line{{1, 1}}
	cases := []struct {
		name   string
		user   int64
		key    string
		lines  []Line
		method string
		want   []string
	}{
		{"no user", 0, "k", one, "", []string{"user_id"}},
		{"user beyond exact integers", MaxID + 1, "k", one, "", []string{"user_id"}},
		{"no key", 1, "", one, "", []string{"idempotency_key"}},
		{"key too long", 1, strings.Repeat("é", MaxKeyLength+1), one, "", []string{"idempotency_key"}},
		{"key is not UTF-8", 1, "a\xffb", one, "", []string{"idempotency_key"}},
		{"no lines", 1, "k", nil, "", []string{"items"}},
		{"too many lines", 1, "k", slices.Repeat(one, MaxLines+1), "", []string{"items"}},
		{"method too long", 1, "k", one, strings.Repeat("m", MaxPaymentMethod+1), []string{"payment_method"}},
		{"method is not UTF-8", 1, "k", one, "\xc3", []string{"payment_method"}},
		{"method with a NUL", 1, "k", one, "a\x00b", []string{"payment_method"}},
		{"quantity 0", 1, "k", []Line{{1, 0}}, "", []string{"items.0.quantity"}},
		{"quantity too large", 1, "k", []Line{{1, 1}, {2, MaxQuantity + 1}}, "", []string{"items.1.quantity"}},
		{"too large and twice: one message", 1, "k", []Line{{1, 1}, {1, MaxQuantity + 1}}, "", []string{"items.1.quantity"}},
		{"product 0", 1, "k", []Line{{0, 1}}, "", []string{"items.0.product_id"}},
		{"product beyond exact integers", 1, "k", []Line{{MaxID + 1, 1}}, "", []string{"items.0.product_id"}},
		{"sum too large", 1, "k", []Line{{1, MaxQuantity}, {2, 1}, {1, 1}}, "", []string{"items.2.quantity"}},
		{"sum too large, then more", 1, "k", []Line{{1, MaxQuantity}, {1, 1}, {1, 1}}, "", []string{"items.1.quantity"}},
		{
			"everything at once", -1, "",
			[]Line{{0, 0}, {-5, MaxQuantity + 1}, {3, -1 << 63}, {3, 1<<63 - 1}},
			strings.Repeat("m", 300),
			[]string{
				"idempotency_key", "items.0.product_id", "items.0.quantity", "items.1.product_id", "items.1.quantity",
				"items.2.quantity", "items.3.quantity", "payment_method", "user_id",
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := NewDraft(nil, c.user, c.key, c.lines, c.method)
			if got := invalidFields(t, err); !slices.Equal(got, c.want) {
				t.Errorf("invalid fields %q, want %q", got, c.want)
			}
			if d.UserID != 0 || d.Lines != nil {
				t.Errorf("the draft of an invalid request is %+v, want none", d)
			}
		})
	}
}

// TestNewDraftWithErrorsFound: a field that could not be read keeps its message alone, and so does a line that is not an object.
func TestNewDraftWithErrorsFound(t *testing.T) {
	found := ValidationErrors{"user_id": {"must be a number"}, "items.1": {"must be an object"}}
	_, err := NewDraft(found, 0, "k", []Line{{1, 1}, {0, 0}, {0, MaxQuantity}, {0, MaxQuantity}}, "")
	var invalid *Error
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v, want a validation error", err)
	}
	want := ValidationErrors{
		"user_id": {"must be a number"}, "items.1": {"must be an object"},
		"items.2.product_id": {"must be the id of a product"}, "items.3.product_id": {"must be the id of a product"},
	}
	if diff := cmp.Diff(want, invalid.Fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestNewDraftErrorsAreBounded(t *testing.T) {
	_, err := NewDraft(nil, 1, "k", make([]Line, 100_000), "")
	if got := len(invalidFields(t, err)); got != 2*MaxLines+1 {
		t.Errorf("%d invalid fields, want two for each of the first %d lines and one for their number", got, MaxLines)
	}
}

func TestNewDraftLimitsAreInclusive(t *testing.T) {
	lines := make([]Line, MaxLines)
	for i := range lines {
		lines[i] = Line{MaxID - int64(i), MaxQuantity}
	}
	if _, err := NewDraft(nil, MaxID, strings.Repeat("é", MaxKeyLength), lines, strings.Repeat("ü", MaxPaymentMethod)); err != nil {
		t.Error(err)
	}
	if d := draft(t, 1, "k", Line{7, MaxQuantity - 1}, Line{7, 1}); d.Lines[0].Quantity != MaxQuantity {
		t.Errorf("the sum of one product is %d, want %d", d.Lines[0].Quantity, MaxQuantity)
	}
}

func TestNewDraftKeepsTheRequest(t *testing.T) {
	asked := []Line{{9, 1}, {2, 5}, {9, 2}}
	d := draft(t, 4, "key", asked...)
	if !slices.Equal(asked, []Line{{9, 1}, {2, 5}, {9, 2}}) || !slices.Equal(d.Requested, asked) {
		t.Errorf("the request is %v and kept as %v, want it unchanged", asked, d.Requested)
	}
	if want := []Line{{2, 5}, {9, 3}}; !slices.Equal(d.Lines, want) {
		t.Errorf("lines %v, want %v", d.Lines, want)
	}
	if d.OrderKey() != (OrderKey{4, "key"}) {
		t.Errorf("key %v", d.OrderKey())
	}
}

// TestFingerprint: requests have the same fingerprint if and only if they have the same items, in any order and any split.
func TestFingerprint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wish := rapid.MapOfN(rapid.Int64Range(1, 30), rapid.Int64Range(1, 40), 1, 20).Draw(t, "wish")
		first, err := NewDraft(nil, 1, "k", split(t, wish), "")
		if err != nil {
			t.Fatal(err)
		}
		second, err := NewDraft(nil, 2, "other", split(t, wish), "token")
		if err != nil {
			t.Fatal(err)
		}
		if first.Fingerprint != second.Fingerprint || !slices.Equal(first.Lines, second.Lines) {
			t.Fatalf("%v and %v have different fingerprints", first.Requested, second.Requested)
		}
		if first.Fingerprint[0] != fingerprintVersion {
			t.Fatalf("version byte %d", first.Fingerprint[0])
		}
		sums := map[int64]int64{}
		for i, line := range first.Lines {
			sums[line.ProductID] += line.Quantity
			if i > 0 && first.Lines[i-1].ProductID >= line.ProductID {
				t.Fatalf("lines %v are not ascending by product", first.Lines)
			}
		}
		if !maps.Equal(sums, wish) {
			t.Fatalf("%v became %v", wish, sums)
		}
		another := maps.Clone(wish)
		another[rapid.Int64Range(1, 31).Draw(t, "product")] += rapid.Int64Range(1, 3).Draw(t, "more")
		third, err := NewDraft(nil, 1, "k", split(t, another), "")
		if err != nil {
			t.Fatal(err)
		}
		if third.Fingerprint == first.Fingerprint {
			t.Fatalf("%v and %v have the same fingerprint", wish, another)
		}
	})
}

// split returns the quantities as lines, in a random order and with some products in several lines.
func split(t *rapid.T, wish map[int64]int64) []Line {
	var lines []Line
	for _, product := range slices.Sorted(maps.Keys(wish)) {
		left := wish[product]
		if left > 1 && rapid.Bool().Draw(t, "in two") {
			part := rapid.Int64Range(1, left-1).Draw(t, "part")
			lines = append(lines, Line{product, part})
			left -= part
		}
		lines = append(lines, Line{product, left})
	}
	return rapid.Permutation(lines).Draw(t, "lines")
}

// TestFingerprintForm: a change of the stored form needs a new version byte.
func TestFingerprintForm(t *testing.T) {
	got := fmt.Sprintf("%x", draft(t, 1, "k", Line{2, 3}, Line{1, 1}).Fingerprint)
	if want := "01" + "958d881fcd811f7b7f4ff4926f756ab8d641002c2b9cffc4d4da0b453c3ceaaa"; got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
}

func TestMissing(t *testing.T) {
	d := draft(t, 1, "k", Line{5, 1}, Line{3, 1}, Line{5, 1}, Line{4, 1})
	exists := func(ids ...int64) func(int64) bool { return func(id int64) bool { return slices.Contains(ids, id) } }
	if err := d.Missing(true, exists(3, 4, 5)); err != nil {
		t.Errorf("all exist, yet %v", err)
	}
	want := []string{"items.0.product_id", "items.2.product_id", "user_id"}
	if got := invalidFields(t, d.Missing(false, exists(3, 4))); !slices.Equal(got, want) {
		t.Errorf("invalid fields %q, want %q: the lines as requested", got, want)
	}
}
