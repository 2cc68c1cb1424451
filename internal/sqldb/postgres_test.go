package sqldb

import (
	"database/sql"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"orderflow/test/env"
)

// TestPostgresVariables: on a server whose defaults are hostile, every connection has the values that this package sets.
func TestPostgresVariables(t *testing.T) {
	t.Parallel()
	hostile := env.HostilePostgresVariables()
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(postgresVariables(forReads))), func(name string) bool { return name == "application_name" })
	if diff := cmp.Diff(slices.Sorted(maps.Keys(hostile)), names); diff != "" {
		t.Errorf("variables (-with a hostile value +set by the package):\n%s", diff)
	}
	db := open(t, env.HostilePostgres(t)+"shop")
	migrations, done, _, err := db.dialect.migrator(db.Writer)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for p, pool := range map[purpose]*sql.DB{forWrites: db.Writer, forReads: db.Reader.DB, forMigrations: migrations} {
		want := postgresVariables(p)
		delete(want, "tcp_user_timeout") // PostgreSQL shows what the system has made of it
		got := map[string]string{}
		for name := range want {
			var value string
			if err := pool.QueryRowContext(t.Context(), "SHOW "+name).Scan(&value); err != nil {
				t.Fatal(err)
			}
			got[name] = value
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("variables of a connection, purpose %d (-want +got):\n%s", p, diff)
		}
	}
}

// TestNumbered: a question mark between quotes is text.
func TestNumbered(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":         "",
		"SELECT 1": "SELECT 1",
		"SELECT ?, '?', ? FROM a WHERE b = 'it''s ?'": "SELECT $1, '?', $2 FROM a WHERE b = 'it''s ?'",
		"a IN (?,?,?,?,?,?,?,?,?,?)":                  "a IN ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
	} {
		if got := numbered(query); got != want {
			t.Errorf("%s became %s, want %s", query, got, want)
		}
	}
}
