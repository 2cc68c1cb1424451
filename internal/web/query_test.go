package web_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/web"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	allowed := []web.Parameter{{Name: "status"}, {Name: "cursor", Empty: true}, {Name: "id", Many: true}}
	for name, c := range map[string]struct {
		raw     string
		want    string // the values, encoded
		invalid []string
	}{
		"empty":                              {"", "", nil},
		"separators alone":                   {"&&", "", nil},
		"known parameters":                   {"status=PAID&cursor=x", "cursor=x&status=PAID", nil},
		"an escaped name":                    {"st%61tus=PAID", "status=PAID", nil},
		"an empty value counts as absent":    {"status=", "", nil},
		"a name alone counts as absent":      {"status", "", nil},
		"an empty value with a meaning":      {"cursor=", "cursor=", nil},
		"a parameter that may be repeated":   {"id=1&id=2", "id=1&id=2", nil},
		"an unknown parameter":               {"userid=1", "", []string{"userid"}},
		"an unknown parameter without value": {"created_after=", "", []string{"created_after"}},
		"another case":                       {"Status=PAID", "", []string{"Status"}},
		"several unknown parameters":         {"a=1&b=2&status=PAID", "status=PAID", []string{"a", "b"}},
		"a parameter given twice":            {"status=PAID&status=FAILED", "", []string{"status"}},
		"the same value twice":               {"status=PAID&status=PAID", "", []string{"status"}},
		"twice, once empty":                  {"status=&status=PAID", "", []string{"status"}},
		"no name":                            {"=1", "", []string{"query"}},
		"an invalid escape":                  {"status=%zz", "", []string{"query"}},
		"a semicolon":                        {"cursor=1;status=PAID", "", []string{"query"}},
		"the maximum number of parameters":   {strings.Repeat("id=1&", web.MaxParameters-1), strings.Repeat("id=1&", web.MaxParameters-2) + "id=1", nil},
		"too many parameters":                {strings.Repeat("x=&", web.MaxParameters), "", []string{"query"}},
	} {
		values, invalid := web.Query(c.raw, allowed...)
		if got := values.Encode(); got != c.want {
			t.Errorf("%s: values %q, want %q", name, got, c.want)
		}
		if got := slices.Sorted(maps.Keys(invalid)); !slices.Equal(got, c.invalid) {
			t.Errorf("%s: errors of %q, want %q", name, got, c.invalid)
		}
	}
}

// The refusal of an address without parameters states that it takes none.
func TestQueryOfAnAddressWithoutParameters(t *testing.T) {
	t.Parallel()
	_, invalid := web.Query("x=1")
	if got, want := invalid["x"], []string{"is not a parameter of this address, which takes none"}; !slices.Equal(got, want) {
		t.Errorf("x: %q, want %q", got, want)
	}
}

// A query string that is not refused has only parameters of the address.
func FuzzQuery(f *testing.F) {
	f.Add("status=PAID&cursor=")
	f.Add("a=1&&b=%20;")
	f.Fuzz(func(t *testing.T, raw string) {
		values, invalid := web.Query(raw, web.Parameter{Name: "status"})
		given, err := url.ParseQuery(raw)
		if err == nil && invalid == nil && len(given) > 0 && !slices.Equal(slices.Collect(maps.Keys(given)), []string{"status"}) {
			t.Errorf("%q was not refused", raw)
		}
		if values.Has("status") && values.Get("status") == "" {
			t.Errorf("%q has an empty value", raw)
		}
	})
}
