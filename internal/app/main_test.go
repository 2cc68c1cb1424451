package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/test/env"
)

// patience bounds every wait. Nothing takes that long unless it is broken.
const patience = time.Minute

// A server that has ended leaves nothing running.
func TestMain(m *testing.M) {
	code := env.Run(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// grounds are what a server stands on: each changes the settings to a new database with the sample data.
func grounds() map[string]func(t *testing.T, set *config.Settings) {
	return map[string]func(t *testing.T, set *config.Settings){
		"SQLite": func(t *testing.T, set *config.Settings) {
			set.Database = config.NewURL("sqlite:" + filepath.Join(t.TempDir(), "orderflow.db"))
		},
		"MySQL and Redis": shared,
	}
}

// shared puts a server on MySQL and Redis.
func shared(t *testing.T, set *config.Settings) {
	t.Helper()
	set.Database = config.NewURL(env.MySQL(t))
	address, prefix := env.Redis(t)
	set.Redis, set.RedisPrefix = config.NewURL(address), prefix
	fill(t, *set, app.SeedPlan{})
}

// fill migrates a database and fills in the sample data.
func fill(t *testing.T, set config.Settings, plan app.SeedPlan) {
	t.Helper()
	db, err := app.CreateDatabase(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	if err = db.Migrate(t.Context()); err == nil {
		err = db.Seed(t.Context(), plan)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// site is a whole server in this process, on a database of its own, with a client.
type site struct {
	t        *testing.T
	url      string
	live     string // address of WebSockets
	settings config.Settings
	client   *http.Client
	log      *memory
	stop     func() // ends the server in order; the books are proved then
}

// settings are the defaults for a test: a free port, a database in a folder of the test, no rate limit, charges that
// take no time and succeed.
func settings(path string) config.Settings {
	s := config.Defaults()
	s.Addr, s.RealtimeAddr, s.Database, s.RateLimit = "127.0.0.1:0", "127.0.0.1:0", config.NewURL("sqlite:"+path), config.Rate{}
	s.SimulatedLatency, s.SimulatedSuccess = config.Span{}, 1
	s.RealtimeSecret = config.NewSecret("realtime secret of the tests")
	return s
}

// serve starts a server with the sample data, stops it when the test ends, and proves its books.
func serve(t *testing.T, change func(*config.Settings)) *site {
	t.Helper()
	return serveOn(t, filepath.Join(t.TempDir(), "orderflow.db"), change)
}

// apiOnly leaves the worker out: orders stay PENDING.
func apiOnly(s *config.Settings) { s.Roles = config.Roles{API: true} }

func serveOn(t *testing.T, path string, change func(*config.Settings)) *site {
	t.Helper()
	set := settings(path)
	if change != nil {
		change(&set)
	}
	switch {
	case set.Auth != config.AuthRequired:
		set.Samples = true
	case !set.Database.MySQL():
		fill(t, set, app.SeedPlan{})
	}
	if err := set.Validate(); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, settings: set, log: &memory{}}
	server, err := app.Start(t.Context(), set, app.Options{Version: "test", Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	s.live = server.RealtimeURL()
	s.url, s.client = server.URL(), &http.Client{Transport: transport, Timeout: patience}
	s.stop = sync.OnceFunc(func() {
		transport.CloseIdleConnections()
		end()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if text := s.log.String(); strings.Contains(text, `"level":"error"`) {
			t.Errorf("the log has errors:\n%s", text)
		}
		s.prove()
	})
	t.Cleanup(s.stop)
	return s
}

// wentOn says that the server went on without Redis for a moment, since that did not answer within a twentieth or a tenth of a
// second: on a machine with too much to do this is no fault. What Redis is for is not to be had in such a moment.
func (s *site) wentOn() bool { return strings.Contains(s.log.String(), `"event":"redis.down"`) }

// logs waits until the log has a text: lines are written behind the work that they are about.
func (s *site) logs(want string) {
	s.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); !strings.Contains(s.log.String(), want); <-look.C {
		if time.Now().After(end) {
			s.t.Fatalf("the log lacks %s:\n%s", want, s.log)
		}
	}
}

// open opens the database beside the server.
func (s *site) open() *app.Database {
	s.t.Helper()
	db, err := app.OpenDatabase(context.Background(), s.settings)
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

// prove audits the books.
func (s *site) prove() {
	s.t.Helper()
	db := s.open()
	defer func() { _ = db.Close() }()
	text, holds, err := db.AuditText(context.Background())
	if err != nil || !holds {
		s.t.Errorf("the books are wrong: %v\n%s", err, text)
	}
}

// reply is a complete answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request; headers are "Name: value".
func (s *site) do(method, path, body string, headers ...string) reply {
	s.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if request.Header.Set(name, value); name == "Host" {
			request.Host = value
		}
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return reply{header: http.Header{}}
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
	}
	return reply{response.StatusCode, response.Header, string(content)}
}

func (s *site) get(path string) reply { s.t.Helper(); return s.do(http.MethodGet, path, "") }
func (s *site) post(path, body string, headers ...string) reply {
	s.t.Helper()
	return s.do(http.MethodPost, path, body, headers...)
}

// buy orders pieces of one product.
func (s *site) buy(user int64, key string, product, quantity int64) reply {
	s.t.Helper()
	return s.order(fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[{"product_id":%d,"quantity":%d}]}`, user, key, product, quantity))
}

// order places an order. Without batches, orders of one process fight for the locks that processes share and for connections:
// who loses six times is refused, who waits for too long is told that the database has no time, and both ask again, as the
// answer says.
func (s *site) order(body string) reply {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		r := s.post("/api/v1/orders", body)
		usual := s.settings.BatchMax == 1 && s.settings.Redis != (config.URL{})
		code := r.fault().Error
		if !usual || (code != "lock_conflict" && code != "unavailable") || time.Now().After(deadline) {
			return r
		}
	}
}

func (s *site) cancel(id int64) reply {
	s.t.Helper()
	return s.post(fmt.Sprintf("/api/v1/orders/%d/cancel", id), "")
}

// await reads an order until it has one of the statuses, and returns which.
func (s *site) await(id int64, statuses ...string) string {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		o := s.get(fmt.Sprintf("/api/v1/orders/%d", id)).order()
		for _, status := range statuses {
			if o.Status == status {
				return status
			}
		}
		// The history is asked for as a stream, which tells of the next change.
		if text := s.do(http.MethodGet, fmt.Sprintf("/api/v1/orders/%d/events", id), "", "Accept: text/event-stream"); text.status >= 300 {
			s.t.Fatalf("stream of order %d: %+v", id, text)
		}
	}
	s.t.Fatalf("order %d does not become %v", id, statuses)
	return ""
}

// stock is what the API says is left of a product.
func (s *site) stock(product int64) int64 {
	s.t.Helper()
	var list struct {
		Data []struct{ ID, Stock int64 }
	}
	if r := s.get("/api/v1/products"); json.Unmarshal([]byte(r.body), &list) != nil {
		s.t.Errorf("products: %+v", r)
	}
	for _, p := range list.Data {
		if p.ID == product {
			return p.Stock
		}
	}
	s.t.Errorf("no product %d", product)
	return -1
}

// shown is an order as the API shows it.
type shown struct {
	ID          int64
	UserID      int64 `json:"user_id"`
	Status      string
	Total       string  `json:"total_amount"`
	CancelledAt *string `json:"cancelled_at"`
	Key         string  `json:"idempotency_key"`
}

// order is the order in an answer; the zero one when there is none.
func (r reply) order() shown {
	var body struct{ Data shown }
	_ = json.Unmarshal([]byte(r.body), &body) // what is no order is the zero one
	return body.Data
}

// fault is the error in an answer.
type fault struct {
	Error, Message                  string
	TraceID                         string `json:"trace_id"`
	Errors                          map[string][]string
	ProductID, Requested, Available int64
}

func (r reply) fault() fault {
	var body fault
	_ = json.Unmarshal([]byte(r.body), &body) // what is no error is the zero one
	return body
}

// is fails the test unless an answer has this status and error code.
func (s *site) is(r reply, status int, code string) {
	s.t.Helper()
	if r.status != status || r.fault().Error != code {
		s.t.Errorf("%d %s; want %d %s", r.status, r.body, status, code)
	}
}

// memory keeps what is logged.
type memory struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(p)
}

// String is what was logged so far.
func (m *memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}
