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
)

// keeper is where tokens and users are kept, with a fault that tests may put in front.
type keeper struct {
	*store.Store
	fault atomic.Pointer[order.Error]
}

func (k *keeper) TokenByHash(ctx context.Context, hash []byte) (order.Token, error) {
	if fault := k.fault.Load(); fault != nil {
		return order.Token{}, fault
	}
	return k.Store.TokenByHash(ctx, hash)
}

func (k *keeper) UserByEmail(ctx context.Context, email string) (order.User, error) {
	if fault := k.fault.Load(); fault != nil {
		return order.User{}, fault
	}
	return k.Store.UserByEmail(ctx, email)
}

// withAuth makes an API know tokens, and hands out where they are kept.
func withAuth(required bool, into **keeper) func(*api.Options) {
	return func(o *api.Options) {
		k := &keeper{Store: o.Reader.(*store.Store)}
		if into != nil {
			*into = k
		}
		o.Auth = auth.New(auth.Options{Tokens: k, Users: k, Passwords: auth.NewPasswords(auth.PasswordOptions{})})
		o.AuthRequired = required
	}
}

// token makes a token of a user.
func (n *node) token(t testing.TB, about order.Token, lasts time.Duration) (string, order.Token) {
	t.Helper()
	token, about, err := auth.NewToken(t.Context(), n.store, about, lasts)
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
	revoked = "alice with a token that was taken back"
	expired = "alice with a token that is over"
	garbage = "somebody with a token that never was"
)

func callers() []string { return []string{nobody, alice, bob, admin, revoked, expired, garbage} }

// door is a request, and how it is answered by the caller.
type door struct {
	method, target, body string
	headers              []string

	free              int // without a token, where none is needed
	own, other, admin int
	shut              int      // without a token, where one is needed; 0 for 401
	wrong             int      // with a token that does not count; 0 for 401
	mine              []string // in the answers to alice and the admin
	theirs            []string // in the answers to the admin and, where none is needed, to nobody; never in alice's
	secret            []string // never in answers to bob, nor to who is refused
}

func doors() []door {
	const body = `{"user_id":1,"idempotency_key":"again","items":[{"product_id":2,"quantity":1}]}`
	const login = `{"email":"alice@example.com","password":"password"}`
	hers, stream := []string{"key-of-alice"}, []string{"Accept: text/event-stream"}
	all := []door{
		{method: "POST", target: "/api/v1/orders", body: body, free: 201, own: 201, other: 403, admin: 201, mine: []string{`"user_id":1`}, secret: []string{`"data"`}},
		{method: "GET", target: "/api/v1/orders", free: 200, own: 200, other: 200, admin: 200, mine: hers, theirs: []string{"key-of-bob"}, secret: hers},
		{method: "GET", target: "/api/v1/orders?cursor=", free: 200, own: 200, other: 200, admin: 200, mine: hers, theirs: []string{"key-of-bob"}, secret: hers},
		{method: "GET", target: "/api/v1/orders?user_id=", free: 200, own: 200, other: 200, admin: 200, mine: hers, theirs: []string{"key-of-bob"}, secret: hers},
		{method: "GET", target: "/api/v1/orders?userid=1", free: 422, own: 422, other: 422, admin: 422, secret: hers},
		{method: "GET", target: "/api/v1/orders?user_id=1", free: 200, own: 200, other: 403, admin: 200, mine: hers, secret: hers},
		{method: "GET", target: "/api/v1/orders/1", free: 200, own: 200, other: 404, admin: 200, mine: hers, secret: hers},
		{method: "GET", target: "/api/orders/1", free: 200, own: 200, other: 404, admin: 200, mine: hers, secret: hers},
		{method: "HEAD", target: "/api/v1/orders/1", free: 200, own: 200, other: 404, admin: 200},
		{method: "GET", target: "/api/v1/orders/99", free: 404, own: 404, other: 404, admin: 404},
		{method: "GET", target: "/api/v1/orders/1/events", free: 200, own: 200, other: 404, admin: 200, mine: []string{"OrderCreated"}, secret: []string{"OrderCreated"}},
		{
			method: "GET", target: "/api/v1/orders/2/events", headers: stream, free: 200, own: 200, other: 404, admin: 200,
			mine: []string{"event: OrderPaid"}, secret: []string{"OrderPaid"},
		},
		{method: "HEAD", target: "/api/v1/orders/1/events", headers: stream, free: 200, own: 200, other: 404, admin: 200},
		{method: "POST", target: "/api/v1/orders/1/cancel", free: 200, own: 200, other: 404, admin: 200, mine: []string{"CANCELLED"}, secret: []string{"CANCELLED"}},
		{method: "POST", target: "/api/v1/orders/99/cancel", free: 404, own: 404, other: 404, admin: 404},
		{method: "GET", target: "/api/v1/products", free: 200, own: 200, other: 200, admin: 200, mine: []string{"Laptop"}},
		{method: "POST", target: "/api/v1/auth/tokens", body: login, free: 201, own: 201, other: 201, admin: 201, shut: 201, wrong: 201, mine: []string{`"token":"of_`}},
		{
			method: "POST", target: "/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders.1"}`,
			free: 200, own: 200, other: 403, admin: 200, mine: []string{`"auth":"key:`}, secret: []string{`"auth"`},
		},
		{
			method: "POST", target: "/api/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders.1"}`,
			free: 200, own: 200, other: 403, admin: 200, mine: []string{`"auth":"key:`}, secret: []string{`"auth"`},
		},
		{
			method: "POST", target: "/api/v1/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders.1"}`,
			free: 200, own: 200, other: 403, admin: 200, mine: []string{`"auth":"key:`}, secret: []string{`"auth"`},
		},
		{
			method: "POST", target: "/broadcasting/auth", body: `{"socket_id":"1.2","channel_name":"private-orders-feed"}`,
			free: 403, own: 403, other: 403, admin: 200, secret: []string{`"auth"`},
		},
		{method: "GET", target: "/nothing", free: 404, own: 404, other: 404, admin: 404},
		{method: "GET", target: "/api/v1/orders/../health", free: 404, own: 404, other: 404, admin: 404},
		{method: "PUT", target: "/api/v1/products", free: 405, own: 405, other: 405, admin: 405},
		{method: "PUT", target: "/api/v1/auth/tokens", free: 405, own: 405, other: 405, admin: 405, shut: 405, wrong: 405},
	}
	for _, open := range []string{"/api/v1/health", "/api/health", "/livez", "/readyz", "/docs", "/docs/rapidoc.js", "/openapi.json", "/metrics", "/"} {
		all = append(all, door{method: "GET", target: open, free: 200, own: 200, other: 200, admin: 200, shut: 200, wrong: 200})
	}
	for _, shut := range []door{
		{method: "POST", target: "/api/v1/products", body: lamp, admin: 201},
		{method: "PATCH", target: "/api/v1/products/3", body: `{"name":"Hub"}`, admin: 200},
		{method: "POST", target: "/api/v1/products/3/restock", body: delivery, admin: 201},
		{method: "GET", target: "/api/v1/failed-jobs", admin: 200},
		{method: "POST", target: "/api/v1/failed-jobs/77/retry", admin: 404},
		{method: "POST", target: "/api/v1/failed-jobs/77/abandon", admin: 404},
		{method: "GET", target: "/api/v1/stats", admin: 200},
		{method: "POST", target: "/api/v1/audit", admin: 200},
	} {
		shut.free, shut.own, shut.other, shut.secret = 401, 403, 403, []string{`"data"`}
		all = append(all, shut)
	}
	return append(all, door{method: "DELETE", target: "/api/v1/auth/tokens/current", free: 401, own: 204, other: 204, admin: 204})
}

// status is how a caller is answered.
func (d door) status(caller string, required bool) int {
	unless := func(status int) int {
		if status == 0 {
			return http.StatusUnauthorized
		}
		return status
	}
	switch caller {
	case nobody:
		if required {
			return unless(d.shut)
		}
		return d.free
	case alice:
		return d.own
	case bob:
		return d.other
	case admin:
		return d.admin
	default:
		return unless(d.wrong)
	}
}

// TestDoors tries every door with every key.
func TestDoors(t *testing.T) {
	for name, required := range map[string]bool{"optional": false, "required": true} {
		for _, caller := range callers() {
			t.Run(name+"/"+caller, func(t *testing.T) {
				t.Parallel()
				tryDoors(t, caller, required)
			})
		}
	}
}

func tryDoors(t *testing.T, caller string, required bool) {
	t.Helper()
	lines := &logs{}
	n := open(t, withAuth(required, nil), func(o *api.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("figures")) })
	})
	key := keyOf(t, n, caller)
	var headers []string
	if key != "" {
		headers = []string{"Authorization: Bearer " + key}
	}
	for i, user := range []int64{1, 1, 2} {
		owner, _ := n.token(t, order.Token{UserID: user}, 0)
		placed := n.do(t, "POST", "/api/v1/orders", orderJSON(user, [3]string{"key-of-alice", "paid", "key-of-bob"}[i], 2, 1), "Authorization: Bearer "+owner)
		placed.expect(t, 201, nil)
	}
	n.desk.settle(t, 2, order.Succeeded)
	for _, d := range doors() {
		t.Run(d.method+" "+d.target, func(t *testing.T) {
			d.check(t, caller, required, n.do(t, d.method, d.target, d.body, slices.Concat(headers, d.headers)...))
		})
	}
	for _, secret := range []string{key, "of_", "password", "alice@example.com"} {
		if secret != "" && strings.Contains(lines.String(), secret) {
			t.Errorf("%s is in the log: %s", secret, lines)
		}
	}
	if !strings.Contains(lines.String(), `"path":"/api/v1/auth/tokens"`) {
		t.Error("the log says too little for this test")
	}
}

// keyOf is the token of a caller.
func keyOf(t *testing.T, n *node, caller string) string {
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
	key, made := n.token(t, of, 0)
	if caller == revoked {
		if err := n.store.RevokeToken(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

// check holds an answer against what is expected of the door.
func (d door) check(t *testing.T, caller string, required bool, a answer) {
	t.Helper()
	status := d.status(caller, required)
	var want, forbid []string
	switch {
	case status >= 400:
		forbid = d.secret
		if d.method != "HEAD" {
			want = []string{`"trace_id"`}
		}
	case caller == bob:
		forbid = d.secret
	default:
		want = d.mine
	}
	if caller == alice {
		forbid = append(forbid, d.theirs...)
	}
	if status < 400 && (caller == admin || caller == nobody) {
		want = append(want, d.theirs...)
	}
	a.expect(t, status, want, forbid...)
	if status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("WWW-Authenticate is %q", a.header.Get("WWW-Authenticate"))
	}
}

// Every operation that the document knows has its door in the table.
func TestDoorsAreAll(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			found := false
			for _, d := range doors() {
				target, _, _ := strings.Cut(documentedPath(d.target), "?")
				_, same := match(path, target)
				found = found || same && d.method == method
			}
			if !found {
				t.Errorf("%s %s is not tried", method, path)
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
	n.do(t, "GET", "/api/v1/products?access_token=of_x&token=of_x", "").expect(t, 422, []string{`"access_token":`, `"token":`}, "of_x") // nor told again
}

// While the database is away nobody is told that their token or password is wrong.
func TestUnavailableIsNotUnauthenticated(t *testing.T) {
	var k *keeper
	n := open(t, withAuth(true, &k))
	key, _ := n.token(t, order.Token{UserID: 1}, 0)
	k.fault.Store(order.Errorf(order.CodeUnavailable, "away"))
	n.do(t, "GET", "/api/v1/products", "", "Authorization: Bearer "+key).expect(t, 503, []string{`"error":"unavailable"`})
	n.do(t, "POST", "/api/v1/auth/tokens", `{"email":"alice@example.com","password":"password"}`).expect(t, 503, []string{`"error":"unavailable"`})
	n.do(t, "GET", "/api/v1/products", "").expect(t, 401, nil)
	n.do(t, "GET", "/livez", "", "Authorization: Bearer "+key).expect(t, 200, nil)
	k.fault.Store(nil)
	n.do(t, "GET", "/api/v1/products", "", "Authorization: Bearer "+key).expect(t, 200, nil)
}

// What happened says who did it.
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

// Faults of an order for another user are told, but not whether that user exists.
func TestFaultsForOthers(t *testing.T) {
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
