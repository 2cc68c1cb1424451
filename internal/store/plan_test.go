package store_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
)

// planOf returns SQLite's plan of a query, one step a line.
func planOf(t *testing.T, path, query string) []string {
	t.Helper()
	found, err := raw(t, path).QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer found.Close()
	var plan []string
	for found.Next() {
		var id, parent, unused int
		var detail string
		if err := found.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// walks matches a step that scans a growing table or sorts its rows.
var walks = regexp.MustCompile(`^SCAN (orders|o|order_items|i|order_events|e|outbox|payments|failed_jobs|stock_movements|users|products|api_tokens)\b|TEMP B-TREE`)

// checkPlan fails the test for a query that scans a growing table, or that does not use the named index.
func checkPlan(t *testing.T, path, query, index string, allowed ...string) {
	t.Helper()
	plan := planOf(t, path, query)
	uses := false
	for _, step := range plan {
		uses = uses || strings.Contains(step, index)
		if !walks.MatchString(step) {
			continue
		}
		ok := false
		for _, a := range allowed {
			ok = ok || step == a || strings.HasPrefix(step, a+" ")
		}
		if !ok {
			t.Errorf("%s\nwalks: %s", query, step)
		}
	}
	if !uses {
		t.Errorf("%s\ndoes not use %s:\n%s", query, index, strings.Join(plan, "\n"))
	}
}

const byID = "INTEGER PRIMARY KEY"

// TestReadPlans runs every read and has SQLite explain the statements that the store sent.
func TestReadPlans(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 100)
	everyStatus(t, s)
	texts := s.SpyOnReads(path)
	ctx := t.Context()
	list := func(q order.ListQuery) func() error {
		return func() error {
			q.PerPage = 15
			_, err := s.Orders(ctx, q)
			return err
		}
	}
	const dueSorted = "USE TEMP B-TREE FOR ORDER BY" // of due orders or of one page, which are few
	for name, test := range map[string]struct {
		ask     func() error
		index   []string // of each query
		allowed []string
	}{
		"an order":        {func() error { _, err := s.Order(ctx, 1); return err }, []string{byID, "idx_order_items_order"}, nil},
		"all, by cursor":  {list(order.ListQuery{}), []string{"SCAN o", "idx_order_items_order"}, []string{"SCAN o"}}, // the newest rows, one page
		"all, next":       {list(order.ListQuery{Before: 4}), []string{byID, "idx_order_items_order"}, nil},
		"all, by page":    {list(order.ListQuery{Page: 1}), []string{"SCAN o", "idx_order_items_order", "COVERING INDEX"}, []string{"SCAN o", "SCAN orders USING COVERING INDEX"}}, // the total counts all
		"user, by cursor": {list(order.ListQuery{UserID: 1}), []string{"idx_orders_user", "idx_order_items_order"}, nil},
		"user, next":      {list(order.ListQuery{UserID: 1, Before: 4}), []string{"idx_orders_user", "idx_order_items_order"}, nil},
		"user, by page":   {list(order.ListQuery{UserID: 1, Page: 2}), []string{"idx_orders_user", "COVERING INDEX"}, nil},
		"user and status": {list(order.ListQuery{UserID: 1, Status: order.Paid}), []string{"idx_orders_user", "idx_order_items_order"}, nil},
		"user and status, by page": {
			list(order.ListQuery{UserID: 1, Status: order.Paid, Page: 1}), []string{"idx_orders_user", "idx_order_items_order", "idx_orders_"}, nil,
		},
		"status, by cursor": {
			list(order.ListQuery{Status: order.Paid}), []string{"idx_orders_status", "idx_order_items_order"}, []string{dueSorted},
		},
		"status, next": {
			list(order.ListQuery{Status: order.Paid, Before: 4}), []string{"idx_orders_status", "idx_order_items_order"}, []string{dueSorted},
		},
		"status, by page": {
			list(order.ListQuery{Status: order.Paid, Page: 1}),
			[]string{"idx_orders_status", "idx_order_items_order", "COVERING INDEX idx_orders_status"},
			[]string{dueSorted},
		},
		"due":       {func() error { _, err := s.DueOrders(ctx, 5); return err }, []string{"idx_orders_status"}, []string{dueSorted, "SCAN o"}}, // o has the few due orders
		"events":    {func() error { _, err := s.Events(ctx, 1, 0); return err }, []string{"PRIMARY KEY"}, nil},
		"no events": {func() error { _, err := s.Events(ctx, 1, 9); return err }, []string{"PRIMARY KEY", byID}, nil},
		"known":     {func() error { _, _, err := s.Existing(ctx, []int64{1}, []int64{1}); return err }, []string{byID, byID}, nil},
		"products":  {func() error { _, err := s.Products(ctx); return err }, []string{"SCAN products"}, []string{"SCAN products"}}, // all
		"failed job": {
			func() error {
				if _, err := s.FailedJob(ctx, 1); order.CodeOf(err) != order.CodeNotFound {
					return err
				}
				return nil
			}, []string{byID}, nil,
		},
		"failed jobs by page": {
			func() error { _, err := s.FailedJobPage(ctx, 1, 5); return err },
			[]string{"SCAN failed_jobs"},
			[]string{"SCAN failed_jobs", "USE TEMP B-TREE FOR ORDER BY"}, // failed jobs are few
		},
		"figures": {
			func() error { _, err := s.Stats(ctx); return err },
			[]string{"SCAN orders USING COVERING INDEX idx_orders_status", "SEARCH orders USING COVERING INDEX idx_orders_status", "idx_outbox_published", "SCAN failed_jobs", "idx_products_stock"},
			[]string{"SCAN orders USING COVERING INDEX idx_orders_status", "SCAN failed_jobs", "SCAN products USING COVERING INDEX"},
		},
		"failed jobs": {func() error { _, err := s.FailedJobs(ctx, true, 5); return err }, []string{"SCAN failed_jobs"}, []string{"SCAN failed_jobs"}},
		"token": {
			func() error {
				if _, err := s.TokenByHash(ctx, make([]byte, 32)); order.CodeOf(err) != order.CodeUnauthenticated {
					return err
				}
				return nil
			}, []string{"sqlite_autoindex_api_tokens"}, nil,
		},
		"user":        {func() error { _, err := s.UserByEmail(ctx, "bob@example.com"); return err }, []string{"sqlite_autoindex_users"}, nil},
		"tokens":      {func() error { _, err := s.Tokens(ctx); return err }, []string{"SCAN api_tokens"}, []string{"SCAN api_tokens"}}, // the newest rows, one page
		"unpublished": {func() error { _, err := s.LeaseOutbox(ctx, -1, 0, 5); return err }, []string{"idx_outbox_published", "PRIMARY KEY"}, nil},
		"backlog":     {func() error { _, err := s.Backlog(ctx); return err }, []string{"idx_orders_status"}, []string{"SCAN n"}}, // the counts
		"user and key": {
			func() error { _, err := s.OrdersByKey(ctx, 1, "k1", 5); return err }, []string{"idx_orders_idempotency", "idx_order_items_order"}, nil,
		},
		"key": {
			func() error { _, err := s.OrdersByKey(ctx, 0, "k1", 5); return err },
			[]string{"CO-ROUTINE newest", byID, "idx_order_items_order"},
			[]string{"SCAN orders"}, // the ids of the newest
		},
		"payments": {func() error { _, err := s.Payments(ctx, 1); return err }, []string{"PRIMARY KEY"}, []string{dueSorted, "USE TEMP B-TREE FOR LAST TERM OF ORDER BY"}},
		"failed jobs with orders": {
			func() error { _, err := s.FailedJobOrders(ctx, 1, 5); return err },
			[]string{"SCAN failed_jobs"},            // and the orders by their ids
			[]string{"SCAN failed_jobs", dueSorted}, // failed jobs are few
		},
		"put in": {
			func() error { _, err := s.StockAdded(ctx, []int64{1, 2, 3}); return err }, []string{"SEARCH stock_movements USING INDEX idx_stock_movements_product"}, nil,
		},
		"products by id": {func() error { _, err := s.ProductsByID(ctx, []int64{1, 2}); return err }, []string{byID}, nil},
		"products by page": {
			func() error { _, err := s.ProductPage(ctx, 2, 2); return err },
			[]string{"SCAN products", "idx_products_stock"}, // the first rows, one page
			[]string{"SCAN products"},
		},
		"nothing paid": {func() error { _, err := s.PurgeOutbox(ctx, 0, 5); return err }, []string{"idx_outbox_published"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			texts()
			if err := test.ask(); err != nil {
				t.Fatal(err)
			}
			asked := texts()
			if len(asked) < len(test.index) {
				t.Fatalf("%d queries, want %d: %q", len(asked), len(test.index), asked)
			}
			for i, query := range asked {
				checkPlan(t, path, query, test.index[min(i, len(test.index)-1)], test.allowed...)
			}
		})
	}
}

// TestWritePlans explains every statement that writes have prepared, after every kind of write.
func TestWritePlans(t *testing.T) {
	t.Parallel()
	path := newFile(t)
	rules := storetest.Rules()
	rules.Lease = time.Microsecond
	s := open(t, path, rules)
	texts := s.SpyOnWrites(t.Context(), path)
	if err := s.Seed(t.Context(), store.SeedPlan{SetStock: true, Stock: 100}); err != nil {
		t.Fatal(err)
	}
	everyStatus(t, s)
	everyWrite(t, s)
	if _, err := s.FindOrders(t.Context(), []order.OrderKey{{UserID: 1, Key: "k1"}, {UserID: 2}}); err != nil {
		t.Fatal(err)
	}
	explained := 0
	for _, query := range texts() {
		if strings.HasPrefix(query, "INSERT") {
			continue
		}
		explained++
		index := map[string]string{
			"products": byID, "orders": byID, "orders o": byID, "order_items": "idx_order_items_order",
			"failed_jobs": "sqlite_autoindex_failed_jobs", "api_tokens": byID, "outbox": "PRIMARY KEY",
			"stock_movements": "sqlite_autoindex_stock_movements", "wanted": "idx_orders_idempotency",
		}[regexp.MustCompile(`(?:FROM|UPDATE|UPDATE OR ROLLBACK) ([a-z_]+(?: o\b)?)`).FindStringSubmatch(query)[1]]
		checkPlan(t, path, query, index)
	}
	if explained < 8 {
		t.Errorf("only %d statements were there to explain", explained)
	}
}

// everyWrite writes batches of many sizes, so that every text of SQL is used.
func everyWrite(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	if err := s.Seed(ctx, store.SeedPlan{Users: 200, Products: 100, SetStock: true, Stock: 10_000}); err != nil {
		t.Fatal(err)
	}
	key := 0
	for _, size := range []int{1, 2, 7, 8, 9, 33, 63, 64, 65, 130, 257} {
		var drafts []order.Draft
		for i := range size {
			key++
			drafts = append(drafts, storetest.Draft(t, int64(i%200+1), "every"+strings.Repeat("x", key%200)+string(rune('a'+key/200)), int64(i%100+1), 1, int64((i+1)%100+1), 1))
		}
		answers, batch, err := s.CreateOrders(ctx, drafts)
		if err != nil {
			t.Fatal(err)
		}
		s.MarkPublished([]string{batch.ID})
		var claims []order.ClaimRequest
		var cancels []order.CancelRequest
		for i, a := range answers {
			if i%5 == 4 {
				cancels = append(cancels, order.CancelRequest{OrderID: a.Order.ID})
			} else {
				claims = append(claims, order.ClaimRequest{OrderID: a.Order.ID})
			}
		}
		if _, _, err := s.CancelOrders(ctx, cancels); err != nil {
			t.Fatal(err)
		}
		claimed, _, err := s.ClaimOrders(ctx, claims)
		if err != nil {
			t.Fatal(err)
		}
		outcomes := []order.Outcome{order.Succeeded, order.Declined, order.NoAnswer, order.HandedBack}
		var reports []order.Settlement
		for i, c := range claimed {
			reports = append(reports, order.Settlement{
				OrderID: c.Order.ID, Claim: c.Order.Claims, Lease: c.Order.Lease, Kind: order.KindCharge, Outcome: outcomes[i%4],
			})
		}
		if _, _, err := s.SettleOrders(ctx, reports); err != nil {
			t.Fatal(err)
		}
	}
	token, err := s.CreateToken(ctx, order.Token{UserID: 1, Name: "every"}, fmt.Appendf(nil, "%032d", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeToken(ctx, token.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RetryOrders(ctx, []int64{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	everyProductWrite(t, s)
	if _, err := s.LeaseOutbox(ctx, -1, 0, 3); err != nil {
		t.Fatal(err)
	}
	if err := s.FlushPublished(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PurgeOutbox(ctx, -1, 100); err != nil {
		t.Fatal(err)
	}
	storetest.CheckInvariants(t, s)
}

// everyProductWrite changes products and stock, in small and large batches.
func everyProductWrite(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	for _, size := range []int{1, 3, 64, 100} {
		var drafts []order.ProductDraft
		var changes []order.ProductChange
		var restocks []order.Restock
		for i := range size {
			key := fmt.Sprint(size, "-", i)
			price, id := order.Money(1_00+i), int64(i%100+1)
			drafts = append(drafts, order.ProductDraft{Key: key, Name: "New", Price: price, Stock: int64(i), Active: true})
			changes = append(changes, order.ProductChange{ProductID: id, Price: &price})
			restocks = append(restocks, order.Restock{ProductID: id, Quantity: 1, Reason: "r", Key: key})
		}
		for range 2 {
			if _, err := s.CreateProducts(ctx, drafts); err != nil {
				t.Fatal(err)
			}
			if _, err := s.ChangeProducts(ctx, changes); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Restock(ctx, restocks); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPreparedStatementsAreFew: batches of all sizes share a bounded number of texts.
func TestPreparedStatementsAreFew(t *testing.T) {
	t.Parallel()
	s, path := sample(t, 100)
	texts := s.SpyOnWrites(t.Context(), path)
	everyWrite(t, s)
	before := len(texts())
	if before > 90 {
		t.Errorf("%d statements are kept prepared", before)
	}
	for size := 1; size < 150; size += 13 {
		ids := make([]order.CancelRequest, size)
		for i := range ids {
			ids[i].OrderID = int64(i + 1)
		}
		if _, _, err := s.CancelOrders(t.Context(), ids); err != nil {
			t.Fatal(err)
		}
	}
	if after := len(texts()); after > before+2 {
		t.Errorf("from %d, the prepared statements grew to %d", before, after)
	}
}
