package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/api"
	"orderflow/internal/auth"
	"orderflow/internal/bus"
	"orderflow/internal/intake"
	"orderflow/internal/limit"
	"orderflow/internal/lock"
	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/pusher"
	"orderflow/internal/store"
	"orderflow/test/env"
)

// realtimeApp signs channels in tests.
func realtimeApp() pusher.App { return pusher.App{Key: "key", Secret: "secret"} }

// server is a console in a real API on a database of its own, with the sample data.
type server struct {
	*Console
	api   *api.API
	store *store.Store
	log   *env.Output
}

// sampleDatabase is a migrated database with the sample data; each test gets a copy of the file.
var sampleDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "orderflow-console")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, ctx := filepath.Join(dir, "sample.db"), context.Background()
	s, err := store.Open(ctx, "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Migrate(ctx), s.Seed(ctx, store.SeedPlan{}), s.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// discard publishes nothing: these tests have no subscribers.
type discard struct{}

func (discard) Publish(order.EventBatch) {}

// open returns a server with log-ins; change may alter the options of its console and its API.
func open(t testing.TB, change ...func(*Options, *api.Options)) *server {
	t.Helper()
	content, err := sampleDatabase()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		t.Fatal(err)
	}
	h := &server{store: s, log: &env.Output{}}
	registry, local := prometheus.NewRegistry(), bus.NewLocal(bus.Options{})
	orders := intake.New(intake.Options{
		Orders: s, Locker: lock.NewLocal(lock.TTL), Publisher: discard{}, BatchMax: 10, QueueMax: 100, Lines: 1000, Registerer: registry,
	})
	ctx, stop := context.WithCancel(context.Background())
	var services sync.WaitGroup
	services.Go(func() { _ = orders.Run(ctx) })
	t.Cleanup(func() {
		stop()
		services.Wait()
		if err := errors.Join(local.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if text := h.log.String(); strings.Contains(text, `"level":"ERROR"`) {
			t.Errorf("the log has errors:\n%s", text)
		}
	})
	forAPI := api.Options{
		Intake: orders, Reader: s, Bus: local, Registerer: registry, Logger: slog.New(slog.NewJSONHandler(h.log, nil)), AuthRequired: true,
		Auth:          auth.New(auth.Options{Tokens: s, Users: s, Passwords: auth.NewPasswords(auth.PasswordOptions{})}),
		SessionCookie: SessionCookie, Realtime: realtimeApp(),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}
	options := Options{
		Feed:           Feed{Key: "key", URL: func(r *http.Request) string { return "ws://" + r.Host }},
		TrustedProxies: forAPI.TrustedProxies,
		Metrics:        registry, Logger: forAPI.Logger,
	}
	for _, c := range change {
		c(&options, &forAPI)
	}
	h.api = api.New(forAPI)
	options.Authenticator, options.InProcess, options.Store, options.Gateway = h.api, h.api.InProcess, s, gateway(t)
	if h.Console, err = New(options); err != nil {
		t.Fatal(err)
	}
	h.api.Mount(Prefix, h.Console)
	return h
}

// gateway returns a gateway that is not used.
func gateway(t testing.TB) switchableGateway {
	t.Helper()
	simulated, err := payment.NewSimulated(payment.SimulatedOptions{Success: 1, Seed: "test"})
	if err != nil {
		t.Fatal(err)
	}
	faults := payment.NewFaults(simulated)
	return switchableGateway{faults, payment.NewBreaker(faults, payment.BreakerOptions{})}
}

// local makes every local client the admin.
func local(o *Options, a *api.Options) { o.Local, a.Local, a.AuthRequired = true, true, false }

// limited limits each caller to n requests a minute.
func limited(n int) func(*Options, *api.Options) {
	return func(_ *Options, a *api.Options) {
		a.Limiter, a.Rate = limit.NewLocal(limit.DefaultKeys), limit.Rate{Tokens: n, Per: time.Minute}
	}
}

// token creates a token.
func (h *server) token(t testing.TB, about order.Token) string {
	t.Helper()
	token, _, err := auth.NewToken(t.Context(), h.store, about, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// reply is a response.
type reply struct {
	*http.Response
	t    testing.TB
	body string
}

// do sends a request as a local browser of http://127.0.0.1:8000; headers are "Name: value".
func (h *server) do(t testing.TB, method, path, body string, headers ...string) reply {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:8000", "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		switch name {
		case "Host":
			r.Host = value
		case "From":
			r.RemoteAddr = value
		default:
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	answer := w.Result()
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return reply{answer, t, string(text)}
}

// is fails the test unless the response has the status and all texts, and none of those after a "!".
func (r reply) is(status int, texts ...string) reply {
	r.t.Helper()
	if r.StatusCode != status {
		r.t.Errorf("status %d, want %d:\n%s", r.StatusCode, status, r.body)
	}
	for _, text := range texts {
		if not, forbidden := strings.CutPrefix(text, "!"); forbidden == strings.Contains(r.body, not) {
			r.t.Errorf("%q (want it: %v) in\n%s", not, !forbidden, r.body)
		}
	}
	return r
}

// leads fails the test unless the response redirects to this address.
func (r reply) leads(to string) reply {
	r.t.Helper()
	if where := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || where != to {
		r.t.Errorf("status %d to %q, want 303 to %q", r.StatusCode, where, to)
	}
	return r
}

// cookie returns a cookie that the response sets, nil for none.
func (r reply) cookie(name string) *http.Cookie {
	for _, c := range r.Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// session returns the request header with the cookies that the response sets.
func (r reply) session() string {
	var list []string
	for _, c := range r.Cookies() {
		if c.MaxAge > 0 {
			list = append(list, c.Name+"="+c.Value)
		}
	}
	return "Cookie: " + strings.Join(list, "; ")
}

func form(pairs ...string) string {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values.Encode()
}
