package env

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"orderflow/test/servers"
)

// HostileVariables are session variables with defaults under which a statement of the store would fail, hang or do something
// else. Each variable that the product sets has one.
func HostileVariables() map[string]string {
	return map[string]string{
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
}

// HostileMySQL starts a server whose defaults are HostileVariables, which no session may change for others. The function makes an
// empty database on it, and returns its address for an account that gets these defaults.
func HostileMySQL(t *testing.T) (newDatabase func(t testing.TB) string) {
	t.Helper()
	server, err := servers.Database(t.Context(), Folder(t),
		"--character-set-server=latin1", "--collation-server=latin1_swedish_ci", "--loose-skip-character-set-client-handshake")
	Started(t, server, err)
	db := Admin(t, NewDatabase(t, servers.MySQLURL(server.Addr(), "")))
	admin, err := db.Conn(t.Context()) // keeps the values that it began with
	if err != nil {
		t.Fatal(err)
	}
	variables := HostileVariables()
	variables["innodb_default_row_format"] = "'compact'"
	variables["init_connect"] = "'SET NAMES latin1'"
	for name, value := range variables {
		_, err := admin.ExecContext(t.Context(), "SET GLOBAL "+name+" = "+value)
		if e, ok := errors.AsType[*mysql.MySQLError](err); ok && e.Number == 1193 {
			continue // a variable of the other kind of server
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := admin.ExecContext(t.Context(), "CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'pass'"); err != nil {
		t.Fatal(err)
	}
	var one sync.Mutex
	made := 0
	return func(t testing.TB) string {
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
		return (&url.URL{Scheme: "mysql", User: url.UserPassword("shop", "pass"), Host: server.Addr(), Path: name}).String()
	}
}
