package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/api"
	"orderflow/internal/limit"
	"orderflow/internal/order"
)

const logIns = "/api/v1/auth/tokens"

func credentials(email, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
}

func TestLogIn(t *testing.T) {
	n := open(t, withAuth(true, nil))
	a := n.do(t, "POST", logIns, `{"email":"Alice@Example.com","password":"password","name":"browser","expires_in":3600,"scope":"all"}`)
	a.expect(t, 201, []string{`"user_id":1,"name":"browser","expires_at":"20`}, "argon2", `"admin"`)
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
	}
	var made struct {
		Data struct {
			Token     string
			ExpiresAt time.Time `json:"expires_at"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &made); err != nil {
		t.Fatal(err)
	}
	if left := time.Until(made.Data.ExpiresAt); left < 50*time.Minute || left > 70*time.Minute {
		t.Errorf("the token is valid for %s", left)
	}
	sent := "Authorization: Bearer " + made.Data.Token
	n.do(t, "GET", "/api/v1/orders", "", sent).expect(t, 200, nil)
	n.do(t, "DELETE", logIns+"/current", "", sent).expect(t, 204, nil)
	n.do(t, "GET", "/api/v1/orders", "", sent).expect(t, 401, []string{`"error":"unauthenticated"`})
	n.do(t, "DELETE", logIns+"/current", "", sent).expect(t, 401, nil)

	n.do(t, "POST", logIns, credentials("alice@example.com", "password")).expect(t, 201, []string{`"name":""`})
	n.do(t, "POST", "/api/auth/tokens", credentials("alice@example.com", "password")).expect(t, 201, nil)
	n.do(t, "POST", logIns, credentials("alice@example.com", "password"), "Origin: https://evil.example").expect(t, 403, nil, "of_")
}

// The answer does not reveal whether an account exists.
func TestLogInRefused(t *testing.T) {
	n := open(t, withAuth(false, nil))
	var answers []string
	for _, body := range []string{credentials("alice@example.com", "Password"), credentials("nobody@example.com", "password"), credentials("' OR '1'='1", "x")} {
		a := n.do(t, "POST", logIns, body, "X-Trace-Id: t")
		a.expect(t, 401, []string{`"error":"unauthenticated"`})
		answers = append(answers, fmt.Sprint(a.body, a.header))
	}
	if answers[0] != answers[1] || answers[0] != answers[2] {
		t.Errorf("the answers differ:\n%s", strings.Join(answers, "\n"))
	}
}

func TestLogInValidation(t *testing.T) {
	n := open(t, withAuth(false, nil))
	for body, want := range map[string][]string{
		`{}`:                         {`"email":["is required"]`, `"password":["is required"]`},
		`[]`:                         {`"body":["must be an object"]`},
		`{"email":"","password":""}`: {`"email":["must have 1`, `"password":["must have 1`},
		`{"email":"a@b.example","password":"x","name":"a\u001b[2J"}`:     {`"name":["must have no control characters`},
		`{"email":7,"password":null,"name":[],"expires_in":"1"}`:         {`"email":["must be a string, not a number"]`, `"password"`, `"name"`, `"expires_in"`},
		`{"email":"a","password":"b","expires_in":0}`:                    {`"expires_in":["must be from 1 to 31536000 seconds"]`},
		`{"email":"a","password":"b","expires_in":31536001}`:             {`"expires_in"`},
		`{"email":"a","password":"b","expires_in":1e9}`:                  {`"expires_in"`},
		credentials(strings.Repeat("ä", 256), strings.Repeat("x", 1025)): {`"email":["must have 1 to 255`, `"password":["must have 1 to 1024 bytes"]`},
	} {
		n.do(t, "POST", logIns, body).expect(t, 422, want, "of_")
	}
	n.do(t, "POST", logIns, `{"email":"a","email":"b"}`).expect(t, 400, []string{`"error":"malformed_json"`})
	n.do(t, "POST", logIns, `{"email":"a"} x`).expect(t, 400, nil)
	n.do(t, "POST", logIns, `email=a&password=b`, "Content-Type: -", "Content-Type: application/x-www-form-urlencoded").expect(t, 415, nil)
}

// Ten log-ins a minute are allowed for one account from many addresses, and from one address for many accounts. Other accounts and
// addresses are not limited.
func TestLogInLimits(t *testing.T) {
	withRate := func(rate limit.Rate) func(*api.Options) {
		return func(o *api.Options) { o.Limiter, o.Rate = limit.NewLocal(1000), rate }
	}
	const many = 1000
	synctest.Test(t, func(t *testing.T) {
		n := open(t, withAuth(false, nil), withRate(limit.Rate{Tokens: many, Per: time.Second}))
		try := func(from int, email, password string) answer {
			return n.do(t, "POST", logIns, credentials(email, password), fmt.Sprintf("From: 203.0.113.%d:1", from))
		}
		for i := range 10 {
			try(1, fmt.Sprintf("nobody%d@example.com", i), "x").expect(t, 401, nil)
			try(10+i, []string{"bob@example.com", "BOB@example.com"}[i%2], "x").expect(t, 401, nil)
		}
		over := try(1, "alice@example.com", "password")
		over.expect(t, 429, []string{`"error":"too_many_requests"`, "Too many log-ins"}, "of_")
		if over.header.Get("Retry-After") != "6" || over.header.Get("X-RateLimit-Limit") != "10" {
			t.Errorf("headers %v", over.header)
		}
		try(99, "Bob@example.com", "password").expect(t, 429, nil, "of_")
		try(99, "alice@example.com", "password").expect(t, 201, nil)
		time.Sleep(6 * time.Second)
		try(1, "alice@example.com", "password").expect(t, 201, nil)
		try(99, "Bob@example.com", "password").expect(t, 201, nil)
	})
	n := open(t, withAuth(false, nil), withRate(limit.Rate{}))
	for range 11 {
		n.do(t, "POST", logIns, credentials("alice@example.com", "x")).expect(t, 401, nil)
	}
}

// All tokens of a user share one key, except an admin's token of that user. An admin's token without a user has a key of its own. All
// other requests are counted by address.
func TestRateLimitKeys(t *testing.T) {
	r := &fixedLimiter{decision: limit.Decision{Allowed: true, Limit: 60}}
	n := open(t, withAuth(false, nil), limited(r))
	first, _ := n.token(t, order.Token{UserID: 2}, 0)
	second, _ := n.token(t, order.Token{UserID: 2, Admin: true}, 0)
	shop, about := n.token(t, order.Token{Admin: true}, 0)
	for _, c := range []struct{ key, want string }{
		{"", "api:203.0.113.9"},
		{first, "api:user:2"},
		{second, "api:admin:2"},
		{shop, fmt.Sprintf("api:token:%d", about.ID)},
		{"of_ABCDEFGHIJKLMNOPQRSTUVWXYZ", "api:203.0.113.9"},
		{"rubbish", "api:203.0.113.9"},
	} {
		r.keys = nil
		headers := []string{"From: 203.0.113.9:1"}
		if c.key != "" {
			headers = append(headers, "Authorization: Bearer "+c.key)
		}
		n.do(t, "GET", "/api/v1/products", "", headers...)
		if got := r.counted(); got != c.want {
			t.Errorf("%s is counted as %q, want %q", c.key, got, c.want)
		}
	}
	r.keys = nil
	n.do(t, "POST", logIns, credentials("Alice@example.com", "x"), "From: 203.0.113.9:1", "Authorization: Bearer "+first)
	keys := strings.Fields(r.counted())
	if len(keys) != 3 || keys[0] != "api:203.0.113.9" || keys[1] != "login:203.0.113.9" || !strings.HasPrefix(keys[2], "login:account:") {
		t.Errorf("a log-in is counted as %q", keys)
	}
	if strings.Contains(keys[2], "alice") {
		t.Error("a key of the limiter contains an e-mail address")
	}
	r.decision.Allowed, r.keys = false, nil
	n.do(t, "GET", "/api/v1/products", "", "Authorization: Bearer of_ABCDEFGHIJKLMNOPQRSTUVWXYZ").expect(t, 429, nil)
	n.do(t, "GET", "/api/v1/products", "", "Authorization: Bearer "+first).expect(t, 429, []string{"with this token"})
}

// A stream ends when its token becomes invalid: with the next event or the next keep-alive.
func TestStreamsEndWithTheirToken(t *testing.T) {
	for name, c := range map[string]struct {
		lifetime, until time.Duration
		revoke, wake    bool
	}{
		"revoked, without an event": {0, 15 * time.Second, true, false},
		"revoked, then an event":    {0, 6 * time.Second, true, true},
		"expired":                   {20 * time.Second, 30 * time.Second, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := open(t, withAuth(true, nil))
				n.run(t)
				key, about := n.token(t, order.Token{UserID: 1}, c.lifetime)
				sent := "Authorization: Bearer " + key
				n.do(t, "POST", "/api/v1/orders", orderJSON(1, "a", 2, 1), sent).expect(t, http.StatusCreated, nil)
				began := time.Now()
				answered := followOn(t, servePipes(t, n).Dial(t), 1, sent)
				if answered.status != 200 {
					t.Fatalf("answered %d", answered.status)
				}
				stream := readEvents(answered.body)
				if e, ok := stream.next(); !ok || e.kind != "OrderCreated" {
					t.Fatalf("the first event is %+v", e)
				}
				if c.revoke {
					if err := n.store.RevokeToken(t.Context(), about.ID); err != nil {
						t.Fatal(err)
					}
				}
				if c.wake {
					time.Sleep(6 * time.Second)
					n.intake.claim(t, 1)
				}
				if rest := stream.all(); len(rest) > 0 {
					t.Errorf("with an invalid token it got %v", rest)
				}
				if took := time.Since(began); took > c.until+time.Second {
					t.Errorf("it ended after %s", took)
				}
				synctest.Wait()
				if got := openStreams(t, n); got != 0 {
					t.Errorf("%d streams are open", got)
				}
			})
		})
	}
}

// A stream continues when its token cannot be checked for a while.
func TestStreamWithoutTokenChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k *tokenStore
		n := open(t, withAuth(true, &k))
		n.run(t)
		key, _ := n.token(t, order.Token{UserID: 1}, 0)
		sent := "Authorization: Bearer " + key
		n.do(t, "POST", "/api/v1/orders", orderJSON(1, "a", 2, 1), sent).expect(t, http.StatusCreated, nil)
		stream := readEvents(followOn(t, servePipes(t, n).Dial(t), 1, sent).body)
		stream.next()
		k.fault.Store(order.Errorf(order.CodeUnavailable, "unavailable"))
		time.Sleep(6 * time.Second)
		n.intake.settle(t, 1, order.Succeeded)
		synctest.Wait()
		k.fault.Store(nil)
		if got := fmt.Sprint(stream.all()); got != "[1-2 OrderProcessing 1-3 OrderPaid]" {
			t.Errorf("events %s", got)
		}
	})
}
