package store_test

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// step is a line of EXPLAIN.
type planStep struct{ table, access, key, extra string }

// explain returns how MySQL would run a statement.
func explain(t *testing.T, db *sql.DB, statement string) (steps []planStep) {
	t.Helper()
	found, err := db.QueryContext(t.Context(), "EXPLAIN FORMAT=TRADITIONAL "+statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for found.Next() {
		values := make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := found.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		var s planStep
		for i, column := range columns {
			switch strings.ToLower(column) {
			case "table":
				s.table = values[i].String
			case "type":
				s.access = values[i].String
			case "key":
				s.key = values[i].String
			case "extra":
				s.extra = values[i].String
			}
		}
		steps = append(steps, s)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// grows matches the tables, and their aliases in queries, that no statement on the path of an order may scan. The outbox stays small; the
// statements that lock its rows are checked below.
var grows = regexp.MustCompile(`^(orders|o|order_items|i|order_events|e|payments|failed_jobs|users|api_tokens)$`)

// TestMySQLPlans has the server explain every statement that the store sent: each uses the intended index, none merges indexes, and none
// scans a table that grows.
func TestMySQLPlans(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t, "--log-output=TABLE", "--innodb-flush-log-at-trx-commit=0")
	s := filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Seed(t.Context(), store.SeedPlan{Orders: 4000, Users: 300, Products: 50}); err != nil {
		t.Fatal(err)
	}
	admin := env.Admin(t, address)
	// A user with so many orders that an optimizer may prefer to scan all orders from the newest one.
	must(t, admin, "UPDATE orders SET user_id = 1 WHERE id % 4 = 0",
		"ANALYZE TABLE orders, order_items, order_events, payments, users, products", "SET GLOBAL general_log = 1") //nolint:misspell // SQL
	everyWrite(t, s)
	everyRead(t, s)
	must(t, admin, "SET GLOBAL general_log = 0",
		"INSERT INTO outbox (id, events, created_at, leased_until, published_at) SELECT CONCAT('full-', id), '', created_at, created_at, "+
			"IF(id % 10 = 0, NULL, created_at) FROM orders", "ANALYZE TABLE outbox") //nolint:misspell // SQL; an outbox that was not purged for a while
	// The figures count all orders and the due ones by the entries of one index, without reading rows.
	for query, access := range map[string]string{
		"SELECT status, count(*) FROM orders GROUP BY status": "index",
		"SELECT count(*), COALESCE(sum(CASE WHEN due_at <= NOW(6) THEN 1 ELSE 0 END), 0), min(due_at) FROM orders " +
			"WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') AND due_at IS NOT NULL": "range",
	} {
		for _, step := range explain(t, admin, query) {
			if step.key != "idx_orders_status" || step.access != access || !strings.Contains(step.extra, "Using index") || strings.Contains(step.extra, "temporary") {
				t.Errorf("%s\ngoes by %+v", query, step)
			}
		}
	}
	found, err := admin.QueryContext(t.Context(), "SELECT DISTINCT CONVERT(argument USING utf8mb4) FROM mysql.general_log "+
		"WHERE command_type = 'Query' AND argument REGEXP '^(SELECT|UPDATE|DELETE)' AND argument NOT REGEXP 'information_schema|count\\\\(\\\\*\\\\)|LEFT JOIN|lag\\\\(' -- the audit reads everything")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	statements := 0
	for found.Next() {
		var statement string
		if err := found.Scan(&statement); err != nil {
			t.Fatal(err)
		}
		statements++
		checkMySQLPlan(t, admin, statement)
	}
	if err := found.Err(); err != nil || statements < 30 {
		t.Errorf("%d statements were seen, %v", statements, err)
	}
}

// checkMySQLPlan fails the test for a statement that does not use the intended index.
func checkMySQLPlan(t *testing.T, admin *sql.DB, statement string) {
	t.Helper()
	wanted := []struct{ in, key string }{
		{"FROM orders o FORCE INDEX (PRIMARY)", "PRIMARY"},
		{"UPDATE orders ", "PRIMARY"},
		{"UPDATE products ", "PRIMARY"},
		{"UPDATE outbox ", "PRIMARY"},
		{"DELETE outbox ", "PRIMARY"},
		{"(o.user_id, o.idempotency_key) IN", "idx_orders_idempotency"},
		{"FROM order_items WHERE order_id IN", "idx_order_items_order"},
		{"FROM order_events WHERE order_id", "PRIMARY"},
		{"FROM payments WHERE order_id", "PRIMARY"},
		{"WHERE user_id = 1 AND idempotency_key", "idx_orders_idempotency"},
		{"AND idempotency_key = 'k' ORDER BY id DESC", "PRIMARY"},
		{"status = 'PAID' AND due_at IS NULL", "idx_orders_status"},
		{"WHERE user_id = 1 ORDER BY id DESC", "idx_orders_user"},
		{"due_at <= '", "idx_orders_status"},
		{"FROM api_tokens WHERE token_hash =", "idx_api_tokens_hash"},
		{"FROM users WHERE email =", "idx_users_email"},
		{"UPDATE api_tokens ", "PRIMARY"},
		{"published_at IS NULL AND created_at <=", "idx_outbox_published"},
		{"FROM stock_movements WHERE unique_key IN", "idx_stock_movements_key"},
		{"FROM stock_movements WHERE product_id IN", "idx_stock_movements_product"},
		{"FROM products ORDER BY id LIMIT", "PRIMARY"},
	}
	steps := explain(t, admin, statement)
	for _, step := range steps {
		whole := step.access == "ALL" || (step.access == "index" && step.key != "PRIMARY") || step.access == "index_merge"
		if grows.MatchString(step.table) && whole {
			t.Errorf("%.300s\nwalks: %+v", statement, step)
		}
	}
	for _, want := range wanted {
		if !strings.Contains(statement, want.in) {
			continue
		}
		used := false
		for _, step := range steps {
			used = used || step.key == want.key || strings.HasPrefix(step.extra, "Impossible WHERE") || // the row does not exist
				strings.HasPrefix(step.extra, "no matching row in const table")
		}
		if !used {
			t.Errorf("%.300s\ndoes not use %s: %+v", statement, want.key, steps)
		}
	}
}

// everyRead runs every read that the product does while it serves.
func everyRead(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	for name, ask := range map[string]func() error{
		"order": func() error { _, err := s.Order(ctx, 1); return err },
		"keys": func() error {
			var refs []order.OrderKey
			for i := range 300 {
				refs = append(refs, order.OrderKey{UserID: int64(i + 1), Key: strings.Repeat("k", i%40+1)})
			}
			_, err := s.FindOrders(ctx, refs)
			return err
		},
		"one key":  func() error { _, err := s.FindOrders(ctx, []order.OrderKey{{UserID: 1, Key: "k"}}); return err },
		"due":      func() error { _, err := s.DueOrders(ctx, 5); return err },
		"events":   func() error { _, err := s.Events(ctx, 1, 0); return err },
		"known":    func() error { _, _, err := s.Existing(ctx, []int64{1}, []int64{1}); return err },
		"products": func() error { _, err := s.Products(ctx); return err },
		"figures":  func() error { _, err := s.Stats(ctx); return err },
		"tokens":   func() error { _, err := s.Tokens(ctx); return err },
		"user":     func() error { _, err := s.UserByEmail(ctx, "bob@example.com"); return err },
		"token": func() error {
			token, err := s.CreateToken(ctx, order.Token{UserID: 1}, []byte("hash"))
			if err == nil {
				_, err = s.TokenByHash(ctx, []byte("hash"))
			}
			if err == nil {
				err = s.RevokeToken(ctx, token.ID)
			}
			return err
		},
		"user and key": func() error { _, err := s.OrdersByKey(ctx, 1, "k", 5); return err },
		"key":          func() error { _, err := s.OrdersByKey(ctx, 0, "k", 5); return err },
		"payments":     func() error { _, err := s.Payments(ctx, 1); return err },
		"put in":       func() error { _, err := s.StockAdded(ctx, []int64{1, 2, 3}); return err },
		"some":         func() error { _, err := s.ProductsByID(ctx, []int64{1, 2}); return err },
		"page":         func() error { _, err := s.ProductPage(ctx, 2, 2); return err },
		"unpublished":  func() error { _, err := s.LeaseOutbox(ctx, -1, 0, 5); return err },
		"backlog":      func() error { _, err := s.Backlog(ctx); return err },
		"purge":        func() error { _, err := s.PurgeOutbox(ctx, 0, 5); return err },
	} {
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, q := range []order.ListQuery{
		{},
		{Before: 2000},
		{UserID: 1},
		{UserID: 1, Before: 2000},
		{UserID: 1, Status: order.Paid},
		{Status: order.Paid},
		{Status: order.Paid, Before: 2000},
		{Status: order.Pending},
		{Status: order.Processing, Before: 5},
	} {
		q.PerPage = 15
		if _, err := s.Orders(ctx, q); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
