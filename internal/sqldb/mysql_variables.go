package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strconv"
	"strings"
)

// purpose is what a pool's connections are for; some session variables differ by it.
type purpose int

const (
	forReads purpose = iota
	forWrites
	forMigrations
)

// Times without a statement after which the server ends a session, in seconds. A client that vanishes in the middle of a
// transaction, without closing its connection, keeps its row locks until then. SessionTimeout frees the rows within 10 s. It
// must exceed Limits.Write, so that it never ends a transaction of a live client.
const (
	SessionTimeout = 8     // of a connection for writes; also in the middle of a packet
	mysqlReadIdle  = 600   // of a connection for reads; the pool closes it after mysqlIdle
	mysqlMigrate   = 28800 // of a connection for migrations, which holds the migration lock while another one works
)

// sqlMode rejects values that the column would change.
const sqlMode = "'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'"

// sessionVariable is a variable that a statement depends on, with the value that every session gets. The
// server's defaults are the operator's and may be anything. The names follow
// https://dev.mysql.com/doc/refman/9.7/en/server-system-variables.html and
// https://mariadb.com/docs/server/server-management/variables-and-modes/server-system-variables; each server has a part of
// them.
type sessionVariable struct {
	name  string
	value func(purpose) string
}

func always(value string) func(purpose) string { return func(purpose) string { return value } }

// seconds is a time limit that differs between writes and everything else.
func seconds(writes, others int) func(purpose) string {
	return func(p purpose) string {
		if p == forWrites {
			return strconv.Itoa(writes)
		}
		return strconv.Itoa(others)
	}
}

const noLimit = "18446744073709551615"

// sessionVariables returns them in the order in which they are set: setting max_join_size resets sql_big_selects. The nodes
// of a Galera cluster get more.
func sessionVariables(galera bool) []sessionVariable {
	variables := []sessionVariable{
		// Transactions.
		{"transaction_isolation", always("'READ-COMMITTED'")}, // MySQL, MariaDB 11.1
		{"tx_isolation", always("'READ-COMMITTED'")},          // MariaDB
		{"transaction_read_only", always("0")},
		{"tx_read_only", always("0")},
		{"completion_type", always("0")},           // 2 closes the connection after each COMMIT
		{"innodb_snapshot_isolation", always("0")}, // locking reads see what is committed
		{"innodb_lock_wait_timeout", always(strconv.Itoa(mysqlLockWait))},
		{"lock_wait_timeout", func(p purpose) string { // of metadata locks
			if p == forMigrations {
				return strconv.Itoa(mysqlTableWait)
			}
			return strconv.Itoa(mysqlLockWait)
		}},
		// What a statement may do, and to how many rows.
		{"sql_mode", always(sqlMode)},
		{"foreign_key_checks", always("1")},
		{"unique_checks", always("1")},
		{"check_constraint_checks", always("1")},
		{"sql_safe_updates", always("0")},
		{"sql_select_limit", always(noLimit)},
		{"max_join_size", always(noLimit)},
		{"sql_big_selects", always("1")},
		{"max_execution_time", always("0")}, // MySQL; the store has time limits of its own
		{"max_statement_time", always("0")}, // MariaDB
		{"max_session_mem_used", always("9223372036854775807")},
		{"tmp_disk_table_size", always(noLimit)},
		{"sql_if_exists", always("0")},
		// What a statement means.
		{"time_zone", always("'+00:00'")},
		{"sql_auto_is_null", always("0")},
		{"div_precision_increment", always("4")},
		{"max_sort_length", always("1024")},
		{"default_storage_engine", always("InnoDB")}, // of goose's own table
		// Long lists of ids stay lookups by index; otherwise a locking read would lock rows that were not named.
		{"range_optimizer_max_mem_size", always("0")}, // MySQL; 0 is no limit
		{"optimizer_max_sel_arg_weight", always("0")}, // MariaDB; 0 is no limit as well
		{"optimizer_max_sel_args", always("16000")},
		{"in_predicate_conversion_threshold", always("0")}, // MariaDB; 0 keeps lists from becoming joins
		// Clients that vanish.
		{"wait_timeout", func(p purpose) string {
			switch p {
			case forWrites:
				return strconv.Itoa(SessionTimeout)
			case forMigrations:
				return strconv.Itoa(mysqlMigrate)
			case forReads:
			}
			return strconv.Itoa(mysqlReadIdle)
		}},
		{"net_read_timeout", seconds(SessionTimeout, 30)},
		{"net_write_timeout", seconds(SessionTimeout, 60)},
		{"autocommit", func(p purpose) string {
			if p == forWrites {
				return "0" // the first statement begins the transaction, which saves a round trip
			}
			return "1"
		}},
	}
	if galera {
		variables = append(variables,
			sessionVariable{"wsrep_sync_wait", always("1")}, // reads wait for what other nodes have committed
			sessionVariable{"wsrep_dirty_reads", always("0")},
			sessionVariable{"wsrep_trx_fragment_size", always("0")}, // no part of a transaction is replicated before its COMMIT
		)
	}
	return variables
}

// setStatement is the one statement that sets all variables that the server has. SET NAMES comes with it, since a server
// may ignore the character set of the handshake.
func setStatement(variables []sessionVariable, names map[string]bool, p purpose) string {
	var b strings.Builder
	b.WriteString("SET NAMES utf8mb4 COLLATE utf8mb4_bin")
	for _, v := range variables {
		if names[v.name] {
			b.WriteString(", SESSION " + v.name + " = " + v.value(p))
		}
	}
	return b.String()
}

// variableNames reads the names of the session variables that the server has. It first lifts the server's limits on
// statements, as far as both kinds of servers have always had them.
func variableNames(ctx context.Context, conn *mysqlConn) (names map[string]bool, err error) {
	limits := "SESSION max_execution_time = 0"
	if conn.mariaDB {
		limits = "SESSION max_statement_time = 0, SESSION max_session_mem_used = 9223372036854775807"
	}
	_, err = conn.ExecContext(ctx, "SET SESSION sql_big_selects = 1, SESSION sql_select_limit = "+noLimit+", "+limits, nil)
	if err != nil {
		return nil, err
	}
	found, err := conn.QueryContext(ctx, "SHOW SESSION VARIABLES", nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	names = map[string]bool{}
	row := make([]driver.Value, len(found.Columns()))
	for {
		switch err := found.Next(row); {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		}
		switch name := row[0].(type) {
		case []byte:
			names[strings.ToLower(string(name))] = true
		case string:
			names[strings.ToLower(name)] = true
		}
	}
}
