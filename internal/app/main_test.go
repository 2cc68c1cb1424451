package app_test

import (
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

// patience limits every wait.
const patience = env.Patience

// TestMain fails when a server leaves a goroutine behind.
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

// databases are the stores of a server. Each function sets a new database with the sample data.
func databases() map[string]func(t *testing.T, set *config.Settings) {
	return map[string]func(t *testing.T, set *config.Settings){
		"SQLite": func(t *testing.T, set *config.Settings) {
			set.Database = config.NewURL("sqlite:" + filepath.Join(t.TempDir(), "orderflow.db"))
		},
		"MySQL and Redis":      onMySQLAndRedis,
		"PostgreSQL and Redis": onPostgresAndRedis,
	}
}

// onMySQLAndRedis sets a new MySQL database and a Redis key prefix.
func onMySQLAndRedis(t *testing.T, set *config.Settings) {
	t.Helper()
	onServers(t, set, env.MySQL(t))
}

// onPostgresAndRedis sets a new PostgreSQL database and a Redis key prefix.
func onPostgresAndRedis(t *testing.T, set *config.Settings) {
	t.Helper()
	onServers(t, set, env.Postgres(t))
}

func onServers(t *testing.T, set *config.Settings, database string) {
	t.Helper()
	set.Database = config.NewURL(database)
	address, prefix := env.Redis(t)
	set.Redis, set.RedisPrefix = config.NewURL(address), prefix
	seedDatabase(t, *set, app.SeedPlan{})
}

// seedDatabase migrates a database and adds the sample data.
func seedDatabase(t *testing.T, set config.Settings, plan app.SeedPlan) {
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

// testServer is a server in this process, on a database of its own, with a client.
type testServer struct {
	t           *testing.T
	url         string
	realtimeURL string // address of WebSockets
	settings    config.Settings
	client      *http.Client
	log         *env.Output
	stop        func() // stops the server and runs the audit
}

// settings returns the settings of a test: free ports, an SQLite file, no rate limit, and charges without latency that succeed.
func settings(path string) config.Settings {
	s := config.Defaults()
	s.Addr, s.RealtimeAddr, s.Database, s.RateLimit = "127.0.0.1:0", "127.0.0.1:0", config.NewURL("sqlite:"+path), config.Rate{}
	s.SimulatedLatency, s.SimulatedSuccess = config.Span{}, 1
	s.RealtimeSecret = config.NewSecret("realtime secret of the tests")
	return s
}

// serve starts a server with the sample data, stops it at the end of the test, and runs the audit.
func serve(t *testing.T, change func(*config.Settings)) *testServer {
	t.Helper()
	return serveOn(t, filepath.Join(t.TempDir(), "orderflow.db"), change)
}

// apiOnly sets the role api alone, so that orders stay PENDING.
func apiOnly(s *config.Settings) { s.Roles = config.Roles{API: true} }

func serveOn(t *testing.T, path string, change func(*config.Settings)) *testServer {
	t.Helper()
	set := settings(path)
	if change != nil {
		change(&set)
	}
	switch {
	case set.Auth != config.AuthRequired:
		set.Samples = true
	case !set.Database.OnServer():
		seedDatabase(t, set, app.SeedPlan{})
	}
	if err := set.Validate(); err != nil {
		t.Fatal(err)
	}
	s := &testServer{t: t, settings: set, log: &env.Output{}}
	server, err := app.Start(t.Context(), set, app.Options{Version: "test", Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	s.realtimeURL = server.RealtimeURL()
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
		s.audit()
	})
	t.Cleanup(s.stop)
	return s
}

// lostRedis reports whether the server was without Redis for a moment. Redis may miss its time limit of 50 or 100 ms on a busy machine;
// guarantees that need Redis do not hold then.
func (s *testServer) lostRedis() bool {
	return strings.Contains(s.log.String(), `"event":"redis.down"`)
}

// logs waits until the log has a text. Log lines are written asynchronously.
func (s *testServer) logs(want string) {
	s.t.Helper()
	env.EventuallyNil(s.t, "the log has "+want, func() error {
		if text := s.log.String(); !strings.Contains(text, want) {
			return fmt.Errorf("the log is\n%s", text)
		}
		return nil
	})
}

// open opens the database beside the server.
func (s *testServer) open() *app.Database {
	s.t.Helper()
	db, err := app.OpenDatabase(context.Background(), s.settings)
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

// audit verifies the invariants.
func (s *testServer) audit() {
	s.t.Helper()
	db := s.open()
	defer func() { _ = db.Close() }()
	text, holds, err := db.AuditText(context.Background())
	if err != nil || !holds {
		s.t.Errorf("audit failed: %v\n%s", err, text)
	}
}

// response is an answer that was read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request with headers "Name: value".
func (s *testServer) do(method, path, body string, headers ...string) response {
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
	answer, err := s.client.Do(request)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return response{header: http.Header{}}
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
	}
	return response{answer.StatusCode, answer.Header, string(content)}
}

func (s *testServer) get(path string) response { s.t.Helper(); return s.do(http.MethodGet, path, "") }

func (s *testServer) post(path, body string, headers ...string) response {
	s.t.Helper()
	return s.do(http.MethodPost, path, body, headers...)
}

// buy orders units of one product.
func (s *testServer) buy(user int64, key string, product, quantity int64) response {
	s.t.Helper()
	return s.order(fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[{"product_id":%d,"quantity":%d}]}`, user, key, product, quantity))
}

// order places an order. Without batching the orders of one process contend for shared product locks and for connections. An order that gets
// lock_conflict or unavailable is sent again, as those answers advise.
func (s *testServer) order(body string) response {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		r := s.post("/api/v1/orders", body)
		contended := s.settings.BatchMax == 1 && s.settings.Redis != (config.URL{})
		code := r.errorBody().Error
		if !contended || (code != "lock_conflict" && code != "unavailable") || time.Now().After(deadline) {
			return r
		}
	}
}

func (s *testServer) cancel(id int64) response {
	s.t.Helper()
	return s.post(fmt.Sprintf("/api/v1/orders/%d/cancel", id), "")
}

// await reads an order until it has one of the statuses, and returns it.
func (s *testServer) await(id int64, statuses ...string) string {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		o := s.get(fmt.Sprintf("/api/v1/orders/%d", id)).order()
		for _, status := range statuses {
			if o.Status == status {
				return status
			}
		}
		// Reading the event stream waits for the next change.
		if text := s.do(http.MethodGet, fmt.Sprintf("/api/v1/orders/%d/events", id), "", "Accept: text/event-stream"); text.status >= 300 {
			s.t.Fatalf("stream of order %d: %+v", id, text)
		}
	}
	s.t.Fatalf("order %d does not become %v", id, statuses)
	return ""
}

// stock returns the stock of a product.
func (s *testServer) stock(product int64) int64 {
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

// orderBody is an order in an answer.
type orderBody struct {
	ID          int64
	UserID      int64 `json:"user_id"`
	Status      string
	Total       string  `json:"total_amount"`
	CancelledAt *string `json:"cancelled_at"`
	Key         string  `json:"idempotency_key"`
}

// order returns the order in an answer; the zero value when there is none.
func (r response) order() orderBody {
	var body struct{ Data orderBody }
	_ = json.Unmarshal([]byte(r.body), &body) // the zero value when it is not an order
	return body.Data
}

// errorBody is an error in an answer.
type errorBody struct {
	Error, Message                  string
	TraceID                         string `json:"trace_id"`
	Errors                          map[string][]string
	ProductID, Requested, Available int64
}

func (r response) errorBody() errorBody {
	var body errorBody
	_ = json.Unmarshal([]byte(r.body), &body) // the zero value when it is not an error
	return body
}

// expect fails the test unless an answer has this status and error code.
func (s *testServer) expect(r response, status int, code string) {
	s.t.Helper()
	if r.status != status || r.errorBody().Error != code {
		s.t.Errorf("%d %s; want %d %s", r.status, r.body, status, code)
	}
}
