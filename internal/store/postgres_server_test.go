package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// ownPostgres starts a PostgreSQL server for one test, and returns it with the address of an empty database on it.
func ownPostgres(t *testing.T, settings ...string) (*servers.Server, string) {
	t.Helper()
	server, err := servers.Postgres(t.Context(), env.Folder(t), settings...)
	env.Started(t, server, err)
	return server, env.NewDatabase(t, servers.PostgresURL(server.Addr(), ""))
}

// TestPostgresWarnsOfDurability: each setting under which confirmed orders may be lost is reported once.
func TestPostgresWarnsOfDurability(t *testing.T) {
	t.Parallel()
	warned := func(settings ...string) (lines []string) {
		_, address := ownPostgres(t, settings...)
		openAt(t, address, store.Options{Warn: func(line string) { lines = append(lines, line) }})
		return lines
	}
	if lines := warned(); len(lines) > 0 {
		t.Errorf("a durable server has warnings: %q", lines)
	}
	lines := warned("synchronous_commit=off", "fsync=off", "full_page_writes=off", "session_replication_role=replica")
	for _, name := range []string{"synchronous_commit is off", "fsync is off", "full_page_writes is off", "session_replication_role is replica"} {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, name) }) {
			t.Errorf("no warning says that %s: %q", name, lines)
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d warnings, want 4: %q", len(lines), lines)
	}
}

// TestPostgresOpenErrors: one clear line, without the password.
func TestPostgresOpenErrors(t *testing.T) {
	t.Parallel()
	_, address := ownPostgres(t)
	host := address[strings.Index(address, "@")+1 : strings.LastIndex(address, "/")]
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		address string
		code    order.Code
		want    string
	}{
		"no server":     {fmt.Sprintf("postgres://u:secret@127.0.0.1:%d/db", port), order.CodeUnavailable, "check the address and that the server runs."},
		"unknown user":  {"postgres://stranger:secret@" + host + "/db", order.CodeUnavailable, "add ?sslmode=require where the server asks for encryption."},
		"no database":   {"postgres://postgres@" + host + "/nothing", order.CodeNotFound, "make one with orderflow migrate up."},
		"no TLS":        {address + "?sslmode=require", order.CodeUnavailable, "check the address and that the server runs."},
		"not a number":  {"postgres://u:secret@host:port/db", order.CodeUnavailable, "use postgres://USER:PASSWORD@HOST:PORT/NAME."},
		"two databases": {"postgres://u:secret@" + host + "/a/b", order.CodeUnavailable, "use postgres://USER:PASSWORD@HOST:PORT/NAME."},
	} {
		_, err := store.Open(t.Context(), test.address, store.Options{Existing: true})
		if order.CodeOf(err) != test.code {
			t.Errorf("%s: %v, want the code %s", name, err, test.code)
			continue
		}
		if text := err.Error(); strings.Contains(text, "\n") || strings.Contains(text, "secret") || !strings.HasSuffix(text, test.want) {
			t.Errorf("%s: %s, want one line that ends with %q", name, text, test.want)
		}
	}
}
