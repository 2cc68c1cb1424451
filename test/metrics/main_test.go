package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/test/env"
)

// root is the path of the repository; patience bounds every wait.
const (
	root     = "../.."
	patience = time.Minute
)

func TestMain(m *testing.M) { os.Exit(env.Run(m)) }

// file reads a file of the repository.
func file(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// promtool runs Prometheus's checker of metrics, rules and their tests.
func promtool(t *testing.T, stdin string, args ...string) (said string, err error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing; scripts/test-deps.sh installs it")
	}
	var out bytes.Buffer
	command := exec.CommandContext(t.Context(), path, args...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &out, &out
	err = command.Run()
	return out.String(), err
}

// process is a server with one role.
type process struct {
	t         *testing.T
	url, live string
	client    *http.Client
}

// serve starts a server with these roles on a database and a Redis, and stops it at the end of the test.
func serve(t *testing.T, shared config.Settings, roles config.Roles) process {
	t.Helper()
	set := shared
	set.Roles = roles
	if err := set.Validate(); err != nil {
		t.Fatal(err)
	}
	server, err := app.Start(t.Context(), set, app.Options{Version: "test", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(client.CloseIdleConnections) // before the server stops, which would wait for them
	return process{t, server.URL(), server.RealtimeURL(), client}
}

// sharedSettings returns settings with a MySQL with the sample data and a Redis, for servers of several roles.
func sharedSettings(t *testing.T) config.Settings {
	t.Helper()
	set := config.Defaults()
	set.Addr, set.RealtimeAddr, set.RateLimit = "127.0.0.1:0", "127.0.0.1:0", config.Rate{}
	set.SimulatedLatency, set.SimulatedSuccess = config.Span{}, 1
	set.RealtimeSecret = config.NewSecret("realtime secret of the tests")
	set.OTLPEndpoint = "http://127.0.0.1:9" // no receiver; only its metrics matter
	set.Database = config.NewURL(env.MySQL(t))
	address, prefix := env.Redis(t)
	set.Redis, set.RedisPrefix = config.NewURL(address), prefix
	db, err := app.CreateDatabase(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	if err = db.Migrate(t.Context()); err == nil {
		err = db.Seed(t.Context(), app.SeedPlan{})
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return set
}

// ask sends a request and returns status and body of the answer.
func (p process) ask(method, path, body string) (status int, text string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

// traffic sends some requests to an API, a worker and a realtime server.
func traffic(t *testing.T, api, live process) {
	t.Helper()
	ws, answer, err := websocket.DefaultDialer.DialContext(t.Context(), live.live+"/app/orderflow-key?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	order := `{"user_id":1,"idempotency_key":"metrics","items":[{"product_id":1,"quantity":1}]}`
	for _, want := range []int{http.StatusCreated, http.StatusOK} {
		if status, text := api.ask(http.MethodPost, "/api/v1/orders", order); status != want {
			t.Fatalf("%d %s; want %d", status, text, want)
		}
	}
	for end := time.Now().Add(patience); ; {
		if _, text := api.ask(http.MethodGet, "/api/v1/orders/1", ""); strings.Contains(text, `"PAID"`) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the order was not paid in time: %s", text)
		}
	}
	if status, _ := api.ask(http.MethodPost, "/api/v1/orders/1/cancel", ""); status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d for cancelling a paid order, want 422", status)
	}
}

// names returns the metrics of a text in Prometheus's format with their types, and the three series of each histogram.
func names(text string) map[string]string {
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
		if m[2] == "histogram" {
			for _, series := range []string{"_bucket", "_sum", "_count"} {
				found[m[1]+series] = "series"
			}
		}
	}
	return found
}
