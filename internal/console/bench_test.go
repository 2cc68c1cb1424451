package console

import (
	"net/http"
	"strings"
	"testing"

	"orderflow/internal/store"
)

// BenchmarkPages requests every page over 10,000 orders and 50,000 products. Each must take less than 100 ms.
func BenchmarkPages(b *testing.B) {
	s := newEnv(b, false)
	if err := s.store.Seed(b.Context(), store.SeedPlan{Orders: 10_000, Products: 50_000, Users: 100}); err != nil {
		b.Fatal(err)
	}
	c := s.open()
	if c.post("/audit"); !strings.Contains(c.get("/audit").text, "Audit passed") {
		b.Fatal("audit failed")
	}
	for name, path := range map[string]string{
		"orders": "/orders", "older orders": "/orders?before=5000", "orders of a user": "/orders?user=7", "paid orders": "/orders?status=PAID",
		"orders by key": "/orders?key=nothing", "order": "/orders/5000", "products": "/products", "last products": "/products?page=500", "product": "/products/7",
		"failed jobs": "/failed-jobs", "try": "/try", "audit": "/audit",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if drawn := c.get(path); drawn.status != http.StatusOK {
					b.Fatalf("%d %s", drawn.status, drawn.text)
				}
			}
			if each := b.Elapsed().Milliseconds() / int64(b.N); each >= 100 {
				b.Errorf("it takes %d ms", each)
			}
		})
	}
}
