package store_test

import (
	"database/sql"
	"strings"
	"testing"
	"unicode/utf8"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// TestHostileDefaults: the whole contract holds on a server whose defaults are hostile.
func TestHostileDefaults(t *testing.T) {
	t.Parallel()
	newDatabase := env.HostileMySQL(t)
	t.Run("text beyond the basic plane", func(t *testing.T) {
		s := filled(t, newDatabase(t), store.Options{Rules: storetest.Rules(), Pool: 2})
		added, err := s.CreateProducts(t.Context(), []order.ProductDraft{{Key: "k", Name: "Konzert 🎫", Price: 100, Stock: 1, Active: true}})
		if err != nil || added[0].Err != nil {
			t.Fatal(added, err)
		}
		products, err := s.Products(t.Context())
		if err != nil || products[len(products)-1].Name != "Konzert 🎫" {
			t.Errorf("%+v, %v", products, err)
		}
	})
	t.Run("contract", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) func(order.Rules) *store.Store {
			address := newDatabase(t)
			if err := openAt(t, address, store.Options{Rules: order.DefaultRules()}).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			return func(rules order.Rules) *store.Store {
				return openPatiently(t, address, store.Options{Rules: rules, Pool: 2})
			}
		})
	})
}

// TestStatementsAreText: the text of every statement is valid UTF-8 without binary strings, whatever values are stored, because servers
// convert it when another session lists the running statements. No statement of the store lists them.
func TestStatementsAreText(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t, "--log-output=TABLE")
	filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	admin := env.Admin(t, address)
	must(t, admin, "SET GLOBAL general_log = 1")
	again := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2}) // connects
	everyWrite(t, again)
	everyRead(t, again)
	again.LoseCommit()
	if _, _, err := again.CreateOrders(t.Context(), []order.Draft{storetest.Draft(t, 1, "lost", 1, 1)}); err != nil {
		t.Fatal(err)
	}
	must(t, admin, "SET GLOBAL general_log = 0")
	seen := 0
	for _, text := range logged(t, admin) {
		seen++
		if !utf8.ValidString(text) || strings.Contains(text, "_binary'") {
			t.Errorf("not text: %.200q", text)
		}
		if strings.Contains(strings.ToLower(text), "processlist") {
			t.Errorf("lists the sessions: %.200q", text)
		}
	}
	if seen < 50 {
		t.Errorf("%d statements were logged", seen)
	}
}

// logged returns the statements in the server's general log.
func logged(t *testing.T, admin *sql.DB) (texts []string) {
	t.Helper()
	found, err := admin.QueryContext(t.Context(), "SELECT argument FROM mysql.general_log WHERE command_type = 'Query'")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var text []byte
		if err := found.Scan(&text); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return texts
}
