package env

import (
	"net/url"
	"testing"

	"orderflow/test/servers"
)

// HostilePostgresVariables is HostileVariables for PostgreSQL.
func HostilePostgresVariables() map[string]string {
	return map[string]string{
		"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "default_transaction_deferrable": "on",
		"exit_on_error": "on", "client_encoding": "LATIN1", "standard_conforming_strings": "off", "backslash_quote": "off",
		"search_path": "nowhere", "TimeZone": "Asia/Kathmandu", "DateStyle": "German, DMY", "IntervalStyle": "sql_standard",
		"bytea_output": "escape", "extra_float_digits": "-15", "array_nulls": "off", "transform_null_equals": "on", "row_security": "on",
		"default_table_access_method": "nowhere", "default_tablespace": "nowhere", "plan_cache_mode": "force_generic_plan",
		"statement_timeout": "1", "lock_timeout": "1", "idle_session_timeout": "1", "idle_in_transaction_session_timeout": "1",
		"tcp_user_timeout": "1",
	}
}

// HostilePostgres starts a server whose defaults are HostilePostgresVariables, and returns the address of its databases, for a user
// who gets these defaults. The product creates the databases.
func HostilePostgres(t *testing.T) (base string) {
	t.Helper()
	server, err := servers.Postgres(t.Context(), Folder(t), "fsync=off")
	Started(t, server, err)
	db := Admin(t, servers.PostgresURL(server.Addr(), "postgres"))
	db.SetMaxOpenConns(1) // it keeps the values that it began with
	statements := []string{"CREATE ROLE shop LOGIN CREATEDB PASSWORD 'pass'", "ALTER SYSTEM SET log_min_messages = 'fatal'"}
	for name, value := range HostilePostgresVariables() {
		statements = append(statements, "ALTER ROLE shop SET "+name+" = '"+value+"'")
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return (&url.URL{Scheme: "postgres", User: url.UserPassword("shop", "pass"), Host: server.Addr(), Path: "/"}).String()
}
