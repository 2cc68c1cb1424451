package store_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// TestPostgresPlans has the server explain every statement that the store sent, for any values of its parameters: none reads a
// growing table from one end to the other.
func TestPostgresPlans(t *testing.T) {
	t.Parallel()
	_, address := ownPostgres(t, "shared_preload_libraries=pg_stat_statements", "fsync=off")
	s := filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Seed(t.Context(), store.SeedPlan{Orders: 4000, Users: 300, Products: 50}); err != nil {
		t.Fatal(err)
	}
	admin := env.Admin(t, address)
	must(t, admin, "CREATE EXTENSION pg_stat_statements", "UPDATE orders SET user_id = 1 WHERE id % 4 = 0", "ANALYZE", "SELECT pg_stat_statements_reset()") //nolint:misspell // SQL
	everyWrite(t, s)
	everyRead(t, s)
	found, err := admin.QueryContext(t.Context(), "SELECT query FROM pg_stat_statements WHERE query ~ '^(SELECT|UPDATE|DELETE)' "+
		"AND query !~ 'pg_|count\\(\\*\\)|LEFT JOIN|lag\\(' -- the audit reads everything")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var statements []string
	for found.Next() {
		var statement string
		if err := found.Scan(&statement); err != nil {
			t.Fatal(err)
		}
		statements = append(statements, statement)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	if len(statements) < 30 {
		t.Errorf("%d statements were sent, want at least 30", len(statements))
	}
	large := regexp.MustCompile(`Seq Scan on (orders|order_items|order_events|payments)\b`)
	small := regexp.MustCompile(`Seq Scan on (users|api_tokens|stock_movements|outbox|products)\b`) // of which it reads the few pages, unless it may not
	for i, statement := range statements {
		if plan := genericPlan(t, address, i, statement, "on"); large.MatchString(plan) && !strings.Contains(statement, "id >= ") { // a range needs its values
			t.Errorf("%.300s\nreads a whole table:\n%s", statement, plan)
		}
		if plan := genericPlan(t, address, i, statement, "off"); small.MatchString(plan) {
			t.Errorf("%.300s\nhas no index:\n%s", statement, plan)
		}
	}
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// genericPlan is the plan of a statement for any values of its parameters. With scans "off" the server reads a whole table only where
// no index serves.
func genericPlan(t *testing.T, address string, number int, statement, scans string) string {
	t.Helper()
	conn, err := env.Admin(t, address).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	parameters := 0
	for _, found := range parameter.FindAllStringSubmatch(statement, -1) {
		var n int
		_, _ = fmt.Sscan(found[1], &n)
		parameters = max(parameters, n)
	}
	name := fmt.Sprint("p", number)
	values := ""
	if parameters > 0 {
		values = "(" + strings.TrimSuffix(strings.Repeat("NULL,", parameters), ",") + ")"
	}
	for _, text := range []string{"SET plan_cache_mode = force_generic_plan", "SET enable_seqscan = " + scans, "PREPARE " + name + " AS " + statement} {
		if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), text); err != nil {
			t.Fatalf("%.200s: %v", text, err)
		}
	}
	rows, err := conn.QueryContext(t.Context(), "EXPLAIN (COSTS OFF) EXECUTE "+name+values)
	if err != nil {
		t.Fatalf("%.200s: %v", statement, err)
	}
	defer rows.Close()
	var plan strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		plan.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
