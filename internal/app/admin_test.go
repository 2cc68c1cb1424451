package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow/internal/config"
	"orderflow/internal/order"
)

// adminToken creates an admin token and returns its header.
func (s *testServer) adminToken() string {
	s.t.Helper()
	db := s.open()
	token, _, err := db.NewToken(context.Background(), order.Token{Name: "operator", Admin: true}, time.Hour)
	if err := errors.Join(err, db.Close()); err != nil {
		s.t.Fatal(err)
	}
	return "Authorization: Bearer " + token
}

// TestAdministration: a product is added, restocked, ordered and deactivated, and the audit runs over HTTP.
func TestAdministration(t *testing.T) {
	t.Parallel()
	for name, ground := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := config.Defaults()
			ground(t, &set)
			s := serve(t, func(mine *config.Settings) {
				mine.Database, mine.Redis, mine.RedisPrefix = set.Database, set.Redis, set.RedisPrefix
			})
			admin := s.adminToken()
			ask := func(method, path, body string, status int, code string) response {
				t.Helper()
				r := s.do(method, "/api/v1"+path, body, admin)
				s.expect(r, status, code)
				return r
			}
			lamp := `{"idempotency_key":"lamp","name":"Desk Lamp","price":"29.97","stock":1}`
			s.expect(s.post("/api/v1/products", lamp), http.StatusUnauthorized, "unauthenticated")
			ask("POST", "/products", lamp, http.StatusCreated, "")
			again := ask("POST", "/products", lamp, http.StatusOK, "")
			var product struct{ Data struct{ ID int64 } }
			if err := json.Unmarshal([]byte(again.body), &product); err != nil || again.header.Get("Idempotent-Replayed") != "true" {
				t.Fatalf("%+v", again)
			}
			id := product.Data.ID
			restock := fmt.Sprintf("/products/%d/restock", id)
			delivery := `{"idempotency_key":"881","quantity":9,"reason":"delivery 881"}`
			ask("POST", restock, delivery, http.StatusCreated, "")
			if got := s.stock(id); got != 10 {
				t.Errorf("stock %d after the delivery, want 10", got)
			}
			bought := s.buy(1, "first", id, 3)
			s.expect(bought, http.StatusCreated, "")
			if bought.order().Total != "89.91" {
				t.Errorf("ordered for %s", bought.order().Total)
			}
			s.await(bought.order().ID, "PAID")
			if replay := ask("POST", restock, delivery, http.StatusOK, ""); !strings.Contains(replay.body, `"stock":7,`) {
				t.Errorf("the restock, repeated: %+v", replay)
			}
			ask("POST", restock, strings.Replace(delivery, "9", "8", 1), http.StatusUnprocessableEntity, "idempotency_key_reused")
			ask("POST", restock, `{"idempotency_key":"b","quantity":-8,"reason":"broken"}`, http.StatusConflict, "insufficient_stock")

			change := fmt.Sprintf("/products/%d", id)
			ask("PATCH", change, `{"active":false,"price":"19.97"}`, http.StatusOK, "")
			s.expect(s.buy(1, "second", id, 1), http.StatusConflict, "product_inactive")
			ask("PATCH", change, `{"active":true}`, http.StatusOK, "")
			if later := s.buy(1, "second", id, 1); later.order().Total != "19.97" {
				t.Errorf("ordered at the new price: %+v", later)
			}
			ask("GET", "/failed-jobs", "", http.StatusOK, "")
			ask("POST", "/failed-jobs/1/retry", "", http.StatusNotFound, "not_found")
			stats := ask("GET", "/stats", "", http.StatusOK, "")
			for _, want := range []string{`"total":2,`, `"products":{"total":6,"sold_out":0}`, `"failed_jobs":{"open":0}`} {
				if !strings.Contains(stats.body, want) {
					t.Errorf("the figures lack %s: %s", want, stats.body)
				}
			}
			var report struct {
				Holds      bool
				Invariants []struct{ Holds bool }
			}
			audit := ask("POST", "/audit", "", http.StatusOK, "")
			if err := json.Unmarshal([]byte(audit.body), &report); err != nil || !report.Holds || len(report.Invariants) != 8 {
				t.Errorf("the audit: %v, %+v", err, audit)
			}
		})
	}
}
