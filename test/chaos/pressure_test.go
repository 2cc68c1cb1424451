package chaos

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"orderflow/internal/order"
)

// create is the body of an order of one unit.
func create(key string) string {
	return fmt.Sprintf(`{"user_id":1,"idempotency_key":%q,"items":[{"product_id":1,"quantity":1}]}`, key)
}

// holdWrites locks the database for writing until release is called.
func holdWrites(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(30000)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		_, err := conn.ExecContext(context.Background(), "ROLLBACK")
		if err := errors.Join(err, conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(release)
	return release
}

// peak returns the peak memory of a process in bytes, 0 where the system does not report it.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	return 0
}

// TestFullQueue holds the database up while many clients order. A few wait; the others are refused at once, and nothing accumulates.
// Then all orders are placed once.
func TestFullQueue(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, t.TempDir(), 1_000_000)
	s := start(t, launch{database: database, args: []string{"--roles", "api", "--queue-max", "8", "--batch-max", "4"}})
	addr := s.ready()
	release := holdWrites(t, database)

	const clients, enough = 64, 1_000
	var overloaded atomic.Int64
	ids := make([]int64, clients)
	var crowd sync.WaitGroup
	for i := range clients {
		crowd.Go(func() {
			var w wire
			defer w.close()
			for {
				a, err := w.ask(addr, http.MethodPost, "/api/v1/orders", create(strconv.Itoa(i)))
				switch {
				case err != nil:
					t.Error(err)
					return
				case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "":
					t.Errorf("no Retry-After: %v", a)
					return
				case a.code() == "overloaded":
					if overloaded.Add(1) == enough { // they came while nobody could be served
						release()
					}
				case a.code() == "unavailable": // waited for longer than a write may take
				default:
					o, err := a.order()
					if err != nil {
						t.Errorf("%v: %v", a, err)
					}
					ids[i] = o.ID
					return
				}
			}
		})
	}
	crowd.Wait()
	seen := map[int64]bool{}
	for i, id := range ids {
		if id == 0 || seen[id] {
			t.Errorf("client %d has order %d", i, id)
		}
		seen[id] = true
	}
	if most := peak(t, s.PID()); most > 512<<20 {
		t.Errorf("the server needed %d MB", most>>20)
	}
	s.stop()
	db := openDatabase(t, database)
	audit(t, db)
	page, err := db.Orders(t.Context(), order.ListQuery{PerPage: 1000, Page: 1})
	if err != nil || page.Total != clients {
		t.Errorf("%d orders, want %d: %v", page.Total, clients, err)
	}
}

// TestLogNotRead has a reader of the log that stops reading, and one that ends. Neither delays an order.
func TestLogNotRead(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	database := newDatabase(t, t.TempDir(), 1_000_000)
	s := start(t, launch{database: database, stderr: writer, args: []string{
		"--log-level", "debug", "--simulated-latency", "0", "--simulated-success", "1",
	}})
	if err := writer.Close(); err != nil { // the server has its own
		t.Fatal(err)
	}
	addr := s.ready()
	burst := func(name string) {
		t.Helper()
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				var w wire
				defer w.close()
				for k := range 20 {
					a, err := w.ask(addr, http.MethodPost, "/api/v1/orders", create(fmt.Sprintf("%s-%d-%d", name, i, k)))
					if err != nil || a.status != http.StatusCreated {
						t.Errorf("%v, %v", a, err)
						return
					}
				}
			})
		}
		clients.Wait()
		awaitAllEnded(t, addr)
	}
	// dropped is how many lines found no room, and with them proof that the log was stuck.
	dropped := func() (lines float64) {
		t.Helper()
		var w wire
		defer w.close()
		a, err := w.ask(addr, http.MethodGet, "/metrics", "")
		if err != nil {
			t.Fatal(err)
		}
		for scanner := bufio.NewScanner(strings.NewReader(string(a.body))); scanner.Scan(); {
			if value, ok := strings.CutPrefix(scanner.Text(), "orderflow_log_dropped_total "); ok {
				if lines, err = strconv.ParseFloat(value, 64); err != nil {
					t.Fatal(err)
				}
			}
		}
		return lines
	}
	fill := "/" + strings.Repeat("x", 30_000) // its line of the log is as long
	var w wire
	defer w.close()
	for dropped() == 0 {
		for range 20 {
			if a, err := w.ask(addr, http.MethodGet, fill, ""); err != nil || a.status != http.StatusNotFound {
				t.Fatalf("%v, %v", a, err)
			}
		}
	}
	burst("stuck")
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	burst("gone")
	s.stop()
	audit(t, openDatabase(t, database))
}
