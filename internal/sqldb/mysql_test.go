package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/test/env"
	"orderflow/test/servers"
)

// TestForeignConnection: only the connection that holds a writer's named lock is ended. Another connection that has the number of a
// former writer, as after a restart of the server, is not.
func TestForeignConnection(t *testing.T) {
	t.Parallel()
	server, err := servers.Database(t.Context(), env.Folder(t))
	env.Started(t, server, err)
	address := env.NewDatabase(t, servers.MySQLURL(server.Addr(), ""))
	db := open(t, address)
	end := func(lock string) error {
		w := &writer{session: sessionID{lock: lock}}
		if err := db.Reader.QueryRowContext(t.Context(), "SELECT "+identity).Scan(&w.session.server); err != nil {
			return err
		}
		return db.dialect.endTransaction(t.Context(), db.Reader.DB, w)
	}
	conn, err := env.Admin(t, address).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "DO GET_LOCK('orderflow:writer:mine', 0)"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(end("orderflow:writer:other"), conn.PingContext(t.Context())); err != nil {
		t.Errorf("a foreign connection: %v", err)
	}
	if err := end("orderflow:writer:mine"); err != nil {
		t.Errorf("the lost connection: %v", err)
	}
	if conn.PingContext(t.Context()) == nil {
		t.Error("the lost connection is still open")
	}
}

// TestVariablesOnEveryConnection: on a server whose defaults are hostile, every connection has the values that this package sets.
func TestVariablesOnEveryConnection(t *testing.T) {
	t.Parallel()
	hostile := env.HostileVariables()
	var names []string
	for _, v := range sessionVariables(false) {
		names = append(names, v.name)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(hostile)), slices.Sorted(slices.Values(names))); diff != "" {
		t.Errorf("variables (-with a hostile value +set by the package):\n%s", diff)
	}
	db := open(t, env.HostileMySQL(t)(t))
	migrations, done, _, err := db.dialect.migrator(db.Writer)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for pool, conns := range map[string]*sql.DB{"writes": db.Writer, "reads": db.Reader.DB, "migrations": migrations} {
		variables := shown(t, conns)
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
}

// shown reads a connection's variables back.
func shown(t *testing.T, pool *sql.DB) map[string]string {
	t.Helper()
	found, err := pool.QueryContext(t.Context(), "SHOW SESSION VARIABLES")
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{}
	err = Each(found, func(scan Scan) error {
		var name, value string
		err := scan(&name, &value)
		variables[name] = value
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return variables
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

// TestClockWithoutAnswer: a server that does not return its time makes the operation unavailable.
func TestClockWithoutAnswer(t *testing.T) {
	t.Parallel()
	db := open(t, env.MySQL(t))
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := db.Clock(ctx); !isUnavailable(err) {
		t.Errorf("Clock: %v, want an error that says unavailable", err)
	}
}

// TestMigrateWaitsForAnother holds the lock under which another process would migrate.
func TestMigrateWaitsForAnother(t *testing.T) {
	t.Parallel()
	address := env.MySQL(t)
	db := open(t, address)
	conns, done, _, err := db.dialect.migrator(db.Writer)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	unlock, err := db.dialect.lockMigrations(t.Context(), conns)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := open(t, address).Migrate(ctx, schema()); !isUnavailable(err) {
		t.Errorf("while another process migrates: %v", err)
	}
	var tables int
	const query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'things'"
	if err := env.Admin(t, address).QueryRowContext(t.Context(), query).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("it migrated all the same: %d tables, %v", tables, err)
	}
	unlock()
	if err := db.Migrate(t.Context(), schema()); err != nil {
		t.Error(err)
	}
}
