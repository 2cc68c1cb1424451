package api

import (
	"encoding/json"
	"testing"
	"time"

	"orderflow/internal/order"
)

func TestAppendTime(t *testing.T) {
	vienna := time.FixedZone("", 2*60*60)
	for want, at := range map[string]time.Time{
		`null`:                          {},
		`"2026-03-01T12:00:00.000000Z"`: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		`"2026-03-01T12:00:00.100000Z"`: time.Date(2026, 3, 1, 14, 0, 0, 100_000_000, vienna),
		`"2026-12-31T23:59:59.999999Z"`: time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		if got := string(appendTime(nil, at)); got != want {
			t.Errorf("%v is encoded as %s, want %s", at, got, want)
		}
	}
}

// Any text is encoded as JSON with that text.
func FuzzAppendOrder(f *testing.F) {
	for _, key := range []string{"a", `"\`, "\n\x00\u2028", "é😀", "\xff", "</script>", "\x7f"} {
		f.Add(key, int64(1), int64(99))
	}
	f.Fuzz(func(t *testing.T, key string, id, price int64) {
		o := order.Order{ID: id, Key: key, Items: []order.Item{{ProductID: id, Quantity: 2, UnitPrice: order.Money(price)}, {}}}
		var got struct {
			ID    int64  `json:"id"`
			Key   string `json:"idempotency_key"`
			Items []struct {
				ProductID int64  `json:"product_id"`
				Price     string `json:"unit_price"`
			} `json:"items"`
		}
		written := appendOrder(nil, &o)
		if err := json.Unmarshal(written, &got); err != nil {
			t.Fatalf("%v: %s", err, written)
		}
		if wantKey := string([]rune(key)); got.ID != id || got.Key != wantKey || len(got.Items) != 2 ||
			got.Items[0].ProductID != id || got.Items[0].Price != order.Money(price).String() {
			t.Errorf("%q, %d, %d is decoded as %+v", key, id, price, got)
		}
	})
}
