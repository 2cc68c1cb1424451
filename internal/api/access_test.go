package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/auth"
	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/test/env"
)

// tokenStore is the store of tokens and users. Tests can inject a fault.
type tokenStore struct {
	*store.Store
	fault atomic.Pointer[order.Error]
}

func (s *tokenStore) TokenByHash(ctx context.Context, hash []byte) (order.Token, error) {
	if fault := s.fault.Load(); fault != nil {
		return order.Token{}, fault
	}
	return s.Store.TokenByHash(ctx, hash)
}

func (s *tokenStore) UserByEmail(ctx context.Context, email string) (order.User, error) {
	if fault := s.fault.Load(); fault != nil {
		return order.User{}, fault
	}
	return s.Store.UserByEmail(ctx, email)
}

// withAuth gives an API an Authenticator, and returns its token store.
func withAuth(required bool, into **tokenStore) func(*api.Options) {
	return func(o *api.Options) {
		s := &tokenStore{Store: o.Reader.(*store.Store)}
		if into != nil {
			*into = s
		}
		o.Auth = auth.New(auth.Options{Tokens: s, Users: s, Passwords: auth.NewPasswords(auth.PasswordOptions{})})
		o.AuthRequired = required
	}
}

// token creates a token.
func (n *server) token(t testing.TB, about order.Token, lifetime time.Duration) (string, order.Token) {
	t.Helper()
	token, about, err := auth.NewToken(t.Context(), n.store, about, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return token, about
}

// The callers of the table below. Order 1 and order 2, which is PAID, are alice's; order 3 is bob's.
const (
	nobody  = "nobody"
	alice   = "alice"
	bob     = "bob"
	admin   = "an admin"
	revoked = "alice with a revoked token"
	expired = "alice with an expired token"
	unknown = "a caller with an unknown token"
)

func callers() []string { return []string{nobody, alice, bob, admin, revoked, expired, unknown} }

// accessCase is a request with the status and the content of its answer for each caller.
type accessCase struct {
	method, target, body string
	headers              []string

	optional          int      // without a token, where none is required
	own, other, admin int      // for alice, bob and the admin
	required          int      // without a token, where one is required; 0 for 401
	invalid           int      // with an invalid token; 0 for 401
	mine              []string // in the answers to alice and the admin
	theirs            []string // in the answers to the admin and, where no token is required, to a caller without one; never in alice's
	secret            []string // never in answers to bob, or in refusals
}

func accessCases() []accessCase {
	const body = `{"user_id":1,"idempotency_key":"again","items":[{"product_id":2,"quantity":1}]}`
	const login = `{"email":"alice@example.com","password":"password"}`
	hers, stream := []string{"key-of-alice"}, []string{"Accept: text/event-stream"}
	all := []accessCase{
		{method: "POST", target: "/api/v1/orders", body: body, optional: 201, own: 201, other: 403, admin: 201, mine: []string{`"user_id":1`}, secret: []string{`"data"`}},
		{method: "GET", target: "/api/v1/orders", optional: 200, own: 200, other: 200, admin: 200, mine: hers, theirs: []string{"key-of-bob"}, secret: hers},
		{method: "GET", target: "/api/v1/orders?cursor=", optional: 200, own: 200, other: 200, admin: 200, mine: hers, theirs: []string{"key-of-bob"}, secret: hers},
		{method: "GET", target: "/api/v1/orders?user_id=", optional: 200, own: 200, other: 200, admin: 200, mine: hers, theirs: []string{"key-of-bob"}, secret: hers},
		{method: "GET", target: "/api/v1/orders?userid=1", optional: 422, own: 422, other: 422, admin: 422, secret: hers},
		{method: "GET", target: "/api/v1/orders?user_id=1", optional: 200, own: 200, other: 403, admin: 200, mine: hers, secret: hers},
		{method: "GET", target: "/api/v1/orders/1", optional: 200, own: 200, other: 404, admin: 200, mine: hers, secret: hers},
		{method: "GET", target: "/api/orders/1", optional: 200, own: 200, other: 404, admin: 200, mine: hers, secret: hers},
		{method: "HEAD", target: "/api/v1/orders/1", optional: 200, own: 200, other: 404, admin: 200},
		{method: "GET", target: "/api/v1/orders/99", optional: 404, own: 404, other: 404, admin: 404},
		{method: "GET", target: "/api/v1/orders/1/events", optional: 200, own: 200, other: 404, admin: 200, mine: []string{"OrderCreated"}, secret: []string{"OrderCreated"}},
		{
			method: "GET", target: "/api/v1/orders/2/events", headers: stream, optional: 200, own: 200, other: 404, admin: 200,
			mine: []string{"event: OrderPaid"}, secret: []string{"OrderPaid"},
		},
		{method: "HEAD", target: "/api/v1/orders/1/events", headers: stream, optional: 200, own: 200, other: 404, admin: 200},
		{method: "POST", target: "/api/v1/orders/1/cancel", optional: 200, own: 200, other: 404, admin: 200, mine: []string{"CANCELLED"}, secret: []string{"CANCELLED"}},
		{method: "POST", target: "/api/v1/orders/99/cancel", optional: 404, own: 404, other: 404, admin: 404},
		{method: "GET", target: "/api/v1/products", optional: 200, own: 200, other: 200, admin: 200, mine: []string{"Laptop"}},
		{method: "POST", target: "/api/v1/auth/tokens", body: login, optional: 201, own: 201, other: 201, admin: 201, required: 201, invalid: 201, mine: []string{`"token":"of_`}},
		{
			method: "POST", target: "/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders.1"}`,
			optional: 200, own: 200, other: 403, admin: 200, mine: []string{`"auth":"key:`}, secret: []string{`"auth"`},
		},
		{
			method: "POST", target: "/api/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders.1"}`,
			optional: 200, own: 200, other: 403, admin: 200, mine: []string{`"auth":"key:`}, secret: []string{`"auth"`},
		},
		{
			method: "POST", target: "/api/v1/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders.1"}`,
			optional: 200, own: 200, other: 403, admin: 200, mine: []string{`"auth":"key:`}, secret: []string{`"auth"`},
		},
		{
			method: "POST", target: "/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders-feed"}`,
			optional: 403, own: 403, other: 403, admin: 200, secret: []string{`"auth"`},
		},
		{method: "GET", target: "/nothing", optional: 404, own: 404, other: 404, admin: 404},
		{method: "GET", target: "/api/v1/orders/../health", optional: 404, own: 404, other: 404, admin: 404},
		{method: "PUT", target: "/api/v1/products", optional: 405, own: 405, other: 405, admin: 405},
		{method: "PUT", target: "/api/v1/auth/tokens", optional: 405, own: 405, other: 405, admin: 405, required: 405, invalid: 405},
	}
	for _, open := range []string{"/api/v1/health", "/api/health", "/livez", "/readyz", "/docs", "/docs/rapidoc.js", "/openapi.json", "/metrics", "/"} {
		all = append(all, accessCase{method: "GET", target: open, optional: 200, own: 200, other: 200, admin: 200, required: 200, invalid: 200})
	}
	for _, c := range []accessCase{
		{method: "POST", target: "/api/v1/products", body: lamp, admin: 201},
		{method: "PATCH", target: "/api/v1/products/3", body: `{"name":"Hub"}`, admin: 200},
		{method: "POST", target: "/api/v1/products/3/restock", body: delivery, admin: 201},
		{method: "GET", target: "/api/v1/failed-jobs", admin: 200},
		{method: "POST", target: "/api/v1/failed-jobs/77/retry", admin: 404},
		{method: "POST", target: "/api/v1/failed-jobs/77/abandon", admin: 404},
		{method: "GET", target: "/api/v1/stats", admin: 200},
		{method: "POST", target: "/api/v1/audit", admin: 200},
	} {
		c.optional, c.own, c.other, c.secret = 401, 403, 403, []string{`"data"`}
		all = append(all, c)
	}
	return append(all, accessCase{method: "DELETE", target: "/api/v1/auth/tokens/current", optional: 401, own: 204, other: 204, admin: 204})
}

// status returns the status of the answer to a caller.
func (c accessCase) status(caller string, required bool) int {
	or401 := func(status int) int {
		if status == 0 {
			return http.StatusUnauthorized
		}
		return status
	}
	switch caller {
	case nobody:
		if required {
			return or401(c.required)
		}
		return c.optional
	case alice:
		return c.own
	case bob:
		return c.other
	case admin:
		return c.admin
	default:
		return or401(c.invalid)
	}
}

// Every caller sends every request.
func TestAccess(t *testing.T) {
	for name, required := range map[string]bool{"optional": false, "required": true} {
		for _, caller := range callers() {
			t.Run(name+"/"+caller, func(t *testing.T) {
				t.Parallel()
				checkAccess(t, caller, required)
			})
		}
	}
}

func checkAccess(t *testing.T, caller string, required bool) {
	t.Helper()
	lines := &env.Output{}
	n := open(t, withAuth(required, nil), func(o *api.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("figures")) })
	})
	token := tokenOf(t, n, caller)
	var headers []string
	if token != "" {
		headers = []string{"Authorization: Bearer " + token}
	}
	for i, user := range []int64{1, 1, 2} {
		owner, _ := n.token(t, order.Token{UserID: user}, 0)
		placed := n.do(t, "POST", "/api/v1/orders", orderJSON(user, [3]string{"key-of-alice", "paid", "key-of-bob"}[i], 2, 1), "Authorization: Bearer "+owner)
		placed.expect(t, 201, nil)
	}
	n.intake.settle(t, 2, order.Succeeded)
	for _, c := range accessCases() {
		t.Run(c.method+" "+c.target, func(t *testing.T) {
			c.check(t, caller, required, n.do(t, c.method, c.target, c.body, slices.Concat(headers, c.headers)...))
		})
	}
	for _, secret := range []string{token, "of_", "password", "alice@example.com"} {
		if secret != "" && strings.Contains(lines.String(), secret) {
			t.Errorf("%s is in the log: %s", secret, lines)
		}
	}
	if !strings.Contains(lines.String(), `"path":"/api/v1/auth/tokens"`) {
		t.Error("the log has no line about the log-in, so this test proves nothing")
	}
}

// tokenOf returns the token of a caller, "" for none.
func tokenOf(t *testing.T, n *server, caller string) string {
	t.Helper()
	about := map[string]order.Token{
		alice: {UserID: 1}, bob: {UserID: 2}, admin: {Admin: true}, revoked: {UserID: 1},
		expired: {UserID: 1, ExpiresAt: time.Now().Add(-time.Second)},
	}
	of, ok := about[caller]
	switch {
	case caller == nobody:
		return ""
	case !ok:
		return "of_ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	}
	token, created := n.token(t, of, 0)
	if caller == revoked {
		if err := n.store.RevokeToken(t.Context(), created.ID); err != nil {
			t.Fatal(err)
		}
	}
	return token
}

// check compares an answer with the case.
func (c accessCase) check(t *testing.T, caller string, required bool, a answer) {
	t.Helper()
	status := c.status(caller, required)
	var want, forbid []string
	switch {
	case status >= 400:
		forbid = c.secret
		if c.method != "HEAD" {
			want = []string{`"trace_id"`}
		}
	case caller == bob:
		forbid = c.secret
	default:
		want = c.mine
	}
	if caller == alice {
		forbid = append(forbid, c.theirs...)
	}
	if status < 400 && (caller == admin || caller == nobody) {
		want = append(want, c.theirs...)
	}
	a.expect(t, status, want, forbid...)
	if status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("WWW-Authenticate is %q", a.header.Get("WWW-Authenticate"))
	}
}

// The table has a case for every operation of the document.
func TestAccessCoversEveryOperation(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			found := false
			for _, c := range accessCases() {
				target, _, _ := strings.Cut(documentedPath(c.target), "?")
				_, same := match(path, target)
				found = found || same && c.method == method
			}
			if !found {
				t.Errorf("%s %s has no case", method, path)
			}
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	n := open(t, withAuth(false, nil))
	key, _ := n.token(t, order.Token{UserID: 1}, 0)
	for _, c := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"plain", []string{"Bearer " + key}, 200},
		{"the scheme in any case", []string{"bEARER " + key}, 200},
		{"more blanks", []string{"Bearer   " + key}, 200},
		{"twice", []string{"Bearer " + key, "Bearer " + key}, 401},
		{"another scheme", []string{"Basic " + key}, 401},
		{"the token alone", []string{key}, 401},
		{"empty", []string{""}, 401},
		{"no token", []string{"Bearer"}, 401},
		{"blanks", []string{"Bearer  "}, 401},
		{"two tokens", []string{"Bearer " + key + "," + key}, 401},
		{"something behind it", []string{"Bearer " + key + " x"}, 401},
		{"far too long", []string{"Bearer " + strings.Repeat("A", 30_000)}, 401},
		{"in lower case", []string{"Bearer " + strings.ToLower(key)}, 401},
		{"in quotes", []string{`Bearer "` + key + `"`}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRequest(t.Context(), "GET", "/api/v1/products", "")
			r.Header["Authorization"] = c.headers
			a := n.send(t, r)
			a.expect(t, c.status, nil, key)
			if got := a.header.Get("WWW-Authenticate"); (got == "Bearer") != (c.status == 401) {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		})
	}
	n.do(t, "GET", "/api/v1/products?access_token=of_x&token=of_x", "").expect(t, 422, []string{`"access_token":`, `"token":`}, "of_x") // not repeated
}

// While the database is unavailable, no token and no password is reported as invalid.
func TestUnavailableIsNotUnauthenticated(t *testing.T) {
	var k *tokenStore
	n := open(t, withAuth(true, &k))
	key, _ := n.token(t, order.Token{UserID: 1}, 0)
	k.fault.Store(order.Errorf(order.CodeUnavailable, "unavailable"))
	n.do(t, "GET", "/api/v1/products", "", "Authorization: Bearer "+key).expect(t, 503, []string{`"error":"unavailable"`})
	n.do(t, "POST", "/api/v1/auth/tokens", `{"email":"alice@example.com","password":"password"}`).expect(t, 503, []string{`"error":"unavailable"`})
	n.do(t, "GET", "/api/v1/products", "").expect(t, 401, nil)
	n.do(t, "GET", "/livez", "", "Authorization: Bearer "+key).expect(t, 200, nil)
	k.fault.Store(nil)
	n.do(t, "GET", "/api/v1/products", "", "Authorization: Bearer "+key).expect(t, 200, nil)
}

// Events name the caller that caused them.
func TestActors(t *testing.T) {
	n := open(t, withAuth(false, nil))
	owner, _ := n.token(t, order.Token{UserID: 1}, 0)
	shop, about := n.token(t, order.Token{Admin: true}, 0)
	for i, c := range []struct{ create, cancel, created, cancelled string }{
		{"", "", "user:1", "anonymous"},
		{owner, owner, "user:1", "user:1"},
		{shop, shop, about.Caller().Actor(), about.Caller().Actor()},
	} {
		sent := func(key string) []string {
			if key == "" {
				return nil
			}
			return []string{"Authorization: Bearer " + key}
		}
		a := n.do(t, "POST", "/api/v1/orders", orderJSON(1, string(rune('a'+i)), 2, 1), sent(c.create)...)
		a.expect(t, 201, nil)
		path := a.header.Get("Location")
		n.do(t, "POST", path+"/cancel", "", sent(c.cancel)...).expect(t, 200, nil)
		events := n.do(t, "GET", path+"/events", "", sent(c.create)...)
		events.expect(t, 200, []string{`"actor":"` + c.created + `"`, `"actor":"` + c.cancelled + `"`})
		if got := strings.Count(events.body, `"actor":"`+c.cancelled+`"`); c.created == c.cancelled && got != 2 {
			t.Errorf("%d events by %s: %s", got, c.cancelled, events.body)
		}
	}
}

// An order for another user gets its validation errors, but not whether that user exists.
func TestValidationForOtherUsers(t *testing.T) {
	n := open(t, withAuth(false, nil))
	key, _ := n.token(t, order.Token{UserID: 1}, 0)
	sent := "Authorization: Bearer " + key
	for _, user := range []int64{2, 99} {
		n.do(t, "POST", "/api/v1/orders", orderJSON(user, "a", 2, 0), sent).expect(t, 422, []string{`"items.0.quantity"`}, `"user_id"`)
		n.do(t, "POST", "/api/v1/orders", orderJSON(user, "a", 2, 1), sent).expect(t, 403, []string{`"error":"forbidden"`}, "exist")
		n.do(t, "POST", "/api/v1/orders", orderJSON(user, "a", 77, 1), sent).expect(t, 403, nil, "product")
	}
	n.do(t, "POST", "/api/v1/orders", orderJSON(99, "a", 2, 0)).expect(t, 422, []string{`"items.0.quantity"`, `"user_id"`})
	n.do(t, "GET", "/api/v1/orders?user_id=x", "", sent).expect(t, 422, nil)
}
