package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"orderflow/internal/config"
)

// TestNothingIsCode: texts with a meaning in SQL, in logs or in HTML are stored and returned unchanged, without effect.
func TestNothingIsCode(t *testing.T) {
	t.Parallel()
	for name, ground := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := config.Defaults()
			ground(t, &set)
			s := serve(t, func(mine *config.Settings) {
				mine.Database, mine.Redis, mine.RedisPrefix = set.Database, set.Redis, set.RedisPrefix
				mine.Roles = config.Roles{API: true}
			})
			admin := s.adminToken()
			texts := []string{
				`'; DROP TABLE orders; -- `, `\'; DROP TABLE orders; -- `, `" OR ""="`, `%' OR 1=1 #`, "`x`; SELECT SLEEP(9)", "$1 ? :a {{7*7}} ${7*7}",
				"a\nlevel=error event=\"forged\"", "b\r\n\r\n{\"level\":\"error\"}", "\x1b[31mred", "\u2028\u202e", `</script><script>alert(1)</script>`, "\x00",
			}
			for i, text := range texts {
				quoted, err := json.Marshal(text)
				if err != nil {
					t.Fatal(err)
				}
				placed := s.post("/api/v1/orders", fmt.Sprintf(`{"user_id":1,"idempotency_key":%s,"items":[{"product_id":2,"quantity":1}]}`, quoted))
				s.expect(placed, http.StatusCreated, "")
				if got := s.get(fmt.Sprintf("/api/v1/orders/%d", placed.order().ID)).order().Key; got != text {
					t.Errorf("the key %q was returned as %q", text, got)
				}
				if got := s.do("POST", "/api/v1/products", fmt.Sprintf(`{"idempotency_key":"p%d","name":%s,"price":"1.00"}`, i, quoted), admin); got.status >= 500 {
					t.Errorf("a product %q: %d %s", text, got.status, got.body)
				}
				login := s.post("/api/v1/auth/tokens", fmt.Sprintf(`{"email":%s,"password":%s}`, quoted, quoted))
				if login.status != http.StatusUnauthorized && login.status != http.StatusUnprocessableEntity && login.status != http.StatusTooManyRequests {
					t.Errorf("a log-in as %q: %d %s", text, login.status, login.body)
				}
			}
			if got := s.get("/api/v1/orders?user_id=1&per_page=50"); strings.Count(got.body, `"idempotency_key"`) != len(texts) {
				t.Errorf("the list does not have all %d orders: %s", len(texts), got.body)
			}
			for line := range strings.Lines(s.log.String()) {
				var fields map[string]any
				if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["event"] == "forged" || fields["level"] == "error" {
					t.Errorf("a caller injected a line into the log: %q (%v)", line, err)
				}
			}
		})
	}
}
