package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/test/env"
)

// TestBackEnd: an admin token may send more requests than one user, up to the limits of the settings.
func TestBackEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, func(set *config.Settings) {
		set.RateLimit, set.AdminRateLimit = config.Rate{Tokens: 1, Per: time.Hour}, config.Rate{Tokens: 4, Per: time.Hour}
	})
	db := s.open()
	token, _, err := db.NewToken(t.Context(), app.Token{Admin: true}, time.Hour)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		user   int
		status int
		words  string
	}{{1, 201, ""}, {2, 201, ""}, {3, 201, ""}, {3, 429, "for user 3"}, {1, 429, "with this token"}} {
		body := fmt.Sprintf(`{"user_id":%d,"idempotency_key":"k%d","items":[{"product_id":2,"quantity":1}]}`, want.user, i)
		got := s.post("/api/v1/orders", body, "Authorization: Bearer "+token)
		if got.status != want.status {
			t.Errorf("order %d: status %d, want %d", i, got.status, want.status)
		}
		if !strings.Contains(got.body, want.words) {
			t.Errorf("order %d: %s, want %q", i, got.body, want.words)
		}
	}
}

// TestTokensAtManyServers: a token of one process is valid at another, and so is an admin token of the command line. A token that is revoked
// at one process is soon refused by all. Failed log-ins are counted together.
func TestTokensAtManyServers(t *testing.T) {
	t.Parallel()
	ground := config.Defaults()
	onMySQLAndRedis(t, &ground)
	var sites []*testServer
	for range 2 {
		sites = append(sites, serve(t, func(set *config.Settings) {
			set.Database, set.Redis, set.RedisPrefix = ground.Database, ground.Redis, ground.RedisPrefix
			set.Auth, set.RateLimit = config.AuthRequired, config.Rate{Tokens: 10_000, Per: time.Second}
		}))
	}
	one, two := sites[0], sites[1]
	logIn := func(at *testServer, email, password string) response {
		return at.post("/api/v1/auth/tokens", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
	}
	made := logIn(one, "ALICE@example.com", "password")
	_, rest, found := strings.Cut(made.body, `"token":"`)
	if made.status != http.StatusCreated || !found {
		t.Fatalf("%d %s", made.status, made.body)
	}
	token, _, _ := strings.Cut(rest, `"`)
	sent := "Authorization: Bearer " + token

	created := two.post("/api/v1/orders", `{"user_id":1,"idempotency_key":"a","items":[{"product_id":2,"quantity":1}]}`, sent)
	two.expect(created, http.StatusCreated, "")
	path := fmt.Sprintf("/api/v1/orders/%d", created.order().ID)
	two.expect(two.get(path), http.StatusUnauthorized, "unauthenticated")
	one.expect(one.do(http.MethodGet, path, "", sent), http.StatusOK, "")
	db := one.open()
	shop, _, err := db.NewToken(t.Context(), app.Token{Admin: true}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	one.expect(one.do(http.MethodGet, path, "", "Authorization: Bearer "+shop), http.StatusOK, "")

	if got := one.do(http.MethodDelete, "/api/v1/auth/tokens/current", "", sent).status; got != http.StatusNoContent {
		t.Errorf("revoking a token answers %d", got)
	}
	one.expect(one.do(http.MethodGet, path, "", sent), http.StatusUnauthorized, "unauthenticated")
	env.Eventually(t, "the other process refuses the revoked token", func() bool {
		return two.do(http.MethodGet, path, "", sent).status == http.StatusUnauthorized
	})

	over := 0
	for i := range 14 { // a bucket of ten, from which one log-in was taken, and refilled over time
		switch got := logIn(sites[i%2], "bob@example.com", "wrong").status; got {
		case http.StatusTooManyRequests:
			over++
		case http.StatusUnauthorized:
		default:
			t.Errorf("a wrong password: %d", got)
		}
	}
	if over < 1 {
		t.Error("fourteen log-ins at two servers were not limited")
	}
	for _, s := range sites {
		for _, secret := range []string{token, shop, "of_", "wrong", "bob@example.com"} {
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("%s is in the log", secret)
			}
		}
	}
}
