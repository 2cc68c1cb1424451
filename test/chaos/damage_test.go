package chaos

import (
	"bytes"
	"database/sql"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestDamagedFile serves a file of which one page is damaged. The first request that meets it is refused with the remedy; from
// then on the log and the probes show the damage, and nothing is written.
func TestDamagedFile(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, t.TempDir(), 100)
	damagePage(t, database, "order_items")
	s := start(t, launch{database: database, errorsLogged: true, args: []string{"--gateway", "simulated"}})
	addr := s.ready()
	var w wire
	defer w.close()
	ask := func(method, path, body string) answer {
		t.Helper()
		a, err := w.ask(addr, method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := ask(http.MethodGet, "/readyz", ""); a.status != http.StatusOK {
		t.Errorf("before anything met the damage: %v", a)
	}
	const remedy = "is damaged; restore it from a backup."
	for range 2 {
		a := ask(http.MethodPost, "/api/v1/orders", create("key"))
		if a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), remedy) {
			t.Errorf("an order is answered %v, want 503 with the remedy", a)
		}
	}
	for _, path := range []string{"/api/health", "/readyz"} {
		if a := ask(http.MethodGet, path, ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %v, want 503", path, a)
		}
	}
	if a := ask(http.MethodGet, "/readyz", ""); !strings.Contains(string(a.body), remedy) {
		t.Errorf("/readyz answers %s, want the remedy", a.body)
	}
	if a := ask(http.MethodGet, "/api/v1/products", ""); a.status != http.StatusOK {
		t.Errorf("what is whole is read: %v", a)
	}
	s.stop()
	if n := strings.Count(s.Log.String(), `"event":"database.damaged"`); n != 1 {
		t.Errorf("the log reports the damage %d times:\n%s", n, s.Log.String())
	}
	if strings.Contains(s.Log.String(), "database.unreachable") {
		t.Errorf("the log calls a damaged database unreachable:\n%s", s.Log.String())
	}
}

// damagePage overwrites the first page of a table in a file that nobody has open.
func damagePage(t *testing.T, database, table string) {
	t.Helper()
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	var page int64
	err = db.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = ?", table).Scan(&page)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(database, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), (page-1)*4096); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
