package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"orderflow/internal/store"
	"orderflow/internal/store/storetest"
	"orderflow/test/env"
)

// TestGrants: the grants in docs/operations/configure.md are sufficient. The first account migrates, the second one serves. Neither has
// another privilege.
func TestGrants(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations", "configure.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| of .* \\| `([A-Z, ]+)` \\|$").FindAllSubmatch(page, -1)
	if len(rows) != 2 {
		t.Fatalf("docs/operations/configure.md has %d rows of grants, want that of an account that migrates and of one that serves", len(rows))
	}
	_, address := ownServer(t)
	admin := env.Admin(t, address)
	as := func(user string, grants []byte) string {
		must(t, admin, "CREATE USER "+user+"@'127.0.0.1' IDENTIFIED BY 'pass'",
			"GRANT "+string(grants)+" ON "+databaseOf(address)+".* TO "+user+"@'127.0.0.1'")
		return strings.Replace(address, "root@", user+":pass@", 1)
	}
	if err := filled(t, as("migrates", rows[0][1]), store.Options{Rules: storetest.Rules()}).Close(); err != nil {
		t.Fatal(err)
	}
	serving := as("serves", rows[1][1])
	cutter := env.NewCommitCutter(t, serving)
	s := openAt(t, cutter.URL(), store.Options{Rules: storetest.Rules(), Pool: 2})
	if err := s.Migrate(t.Context()); err != nil {
		t.Errorf("a schema that is up to date: %v", err)
	}
	cutter.Arm(env.AfterCommit, "INSERT INTO orders") // its session is ended with KILL
	everyWrite(t, s)
	everyRead(t, s)
	storetest.CheckInvariants(t, s)
}
