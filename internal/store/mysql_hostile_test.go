package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// hostile are defaults under which a statement of the store would fail, hang or do something else. Each variable that the
// store sets has one.
var hostile = map[string]string{
	"transaction_isolation": "'SERIALIZABLE'", "tx_isolation": "'SERIALIZABLE'", "transaction_read_only": "1", "tx_read_only": "1",
	"completion_type": "2", "innodb_snapshot_isolation": "1", "innodb_lock_wait_timeout": "1", "lock_wait_timeout": "2",
	"sql_mode":           "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE,NO_UNSIGNED_SUBTRACTION,IGNORE_SPACE'",
	"foreign_key_checks": "0", "unique_checks": "0", "check_constraint_checks": "0",
	"sql_safe_updates": "1", "sql_select_limit": "0", "max_join_size": "1", "sql_big_selects": "0",
	"max_execution_time": "1", "max_statement_time": "0.001", "max_session_mem_used": "1048576", "tmp_disk_table_size": "1024",
	"sql_if_exists": "1", "time_zone": "'+13:00'", "sql_auto_is_null": "1", "div_precision_increment": "0", "max_sort_length": "8",
	"default_storage_engine": "MyISAM", "range_optimizer_max_mem_size": "1",
	"optimizer_max_sel_arg_weight": "1", "optimizer_max_sel_args": "1", "in_predicate_conversion_threshold": "1",
	"wait_timeout": "1", "net_read_timeout": "1", "net_write_timeout": "1", "autocommit": "0",
}

// hostileServer is a server whose defaults are the most hostile ones, which no session may change for others. The function
// makes an empty database on it, and returns its address for an account that gets these defaults.
func hostileServer(t *testing.T) (newDatabase func(t *testing.T) string) {
	t.Helper()
	_, address := ownServer(t, "--character-set-server=latin1", "--collation-server=latin1_swedish_ci", "--loose-skip-character-set-client-handshake")
	admin, err := env.Admin(t, address).Conn(t.Context()) // keeps the values that it began with
	if err != nil {
		t.Fatal(err)
	}
	set := func(name, value string) {
		t.Helper()
		_, err := admin.ExecContext(t.Context(), "SET GLOBAL "+name+" = "+value)
		if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1193 {
			return // a variable of the other kind of server
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	names := slices.Sorted(maps.Keys(hostile))
	if diff := cmp.Diff(names, slices.Sorted(slices.Values(store.VariableNames()))); diff != "" {
		t.Errorf("variables (-with a hostile value +set by the store):\n%s", diff)
	}
	for _, name := range names { // those that the store no longer sets as well
		set(name, hostile[name])
	}
	set("innodb_default_row_format", "'compact'")
	set("init_connect", "'SET NAMES latin1'")
	if _, err := admin.ExecContext(t.Context(), "CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'pass'"); err != nil {
		t.Fatal(err)
	}
	var one sync.Mutex
	made := 0
	return func(t *testing.T) string {
		t.Helper()
		one.Lock()
		defer one.Unlock()
		made++
		name := fmt.Sprint("shop", made)
		for _, statement := range []string{"CREATE DATABASE " + name, "GRANT ALL ON " + name + ".* TO shop@'127.0.0.1'"} {
			if _, err := admin.ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
				t.Fatal(err)
			}
		}
		return "mysql://shop:pass@" + hostOf(address) + "/" + name
	}
}

// TestHostileDefaults: the whole contract holds on a server whose defaults are hostile.
func TestHostileDefaults(t *testing.T) {
	t.Parallel()
	newDatabase := hostileServer(t)
	t.Run("every connection has the values that the store sets", func(t *testing.T) {
		s := filled(t, newDatabase(t), store.Options{Rules: storetest.Rules(), Pool: 2})
		found, err := s.SessionVariables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for pool, variables := range found {
			for name, value := range variables {
				if name == "autocommit" && pool == "writes" {
					continue // off on purpose
				}
				if want, known := hostile[name]; known && strings.EqualFold(asShown(want), value) {
					t.Errorf("a connection for %s has the server's %s = %s", pool, name, value)
				}
			}
			for _, name := range []string{"character_set_client", "character_set_connection", "character_set_results"} {
				if variables[name] != "utf8mb4" {
					t.Errorf("a connection for %s has %s = %s", pool, name, variables[name])
				}
			}
		}
	})
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

// asShown is a value as the server shows it.
func asShown(value string) string {
	switch value {
	case "0":
		return "OFF"
	case "1":
		return "ON"
	}
	return strings.Trim(value, "'")
}

// TestStatementsAreText: whatever is stored, the text of a statement is valid UTF-8 without binary strings, since servers
// convert it when another session lists what runs; and no statement of the store lists that.
func TestStatementsAreText(t *testing.T) {
	t.Parallel()
	_, address := ownServer(t, "--log-output=TABLE")
	s := filled(t, address, store.Options{Rules: storetest.Rules(), Pool: 2})
	admin := env.Admin(t, address)
	must(t, admin, "SET GLOBAL general_log = 1")
	again := openAt(t, address, store.Options{Rules: storetest.Rules(), Pool: 2}) // connects
	everyWrite(t, again)
	everyRead(t, again)
	if err := s.Settle(t.Context(), "orderflow:writer:nobody"); err != nil {
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

// logged are the statements in the server's general log.
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
