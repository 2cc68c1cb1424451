package storetest

import (
	"crypto/sha256"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var tokenTests = map[string]func(*testEnv){
	"a token's life":                   tokenLife,
	"a token is over":                  tokenOver,
	"no token for a missing user":      tokenOfNobody,
	"users by e-mail, whatever a case": usersByEmail,
}

// hashOf is what a token is kept under.
func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func (env *testEnv) token(text string, token order.Token) order.Token {
	env.Helper()
	made, err := env.CreateToken(env.Context(), token, hashOf(text))
	if err != nil {
		env.Fatal(err)
	}
	return made
}

// wantToken looks for a token; the zero Token is for an invalid one.
func (env *testEnv) wantToken(text string, want order.Token) {
	env.Helper()
	got, err := env.TokenByHash(env.Context(), hashOf(text))
	if want == (order.Token{}) {
		env.wantCode(err, order.CodeUnauthenticated)
	} else if err != nil {
		env.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		env.Errorf("token %s (-want +got):\n%s", text, diff)
	}
}

func tokenLife(env *testEnv) {
	env.sample(10)
	env.wantToken("a", order.Token{})
	first := env.token("a", order.Token{UserID: 2, Name: "browser \"ö\""})
	second := env.token("b", order.Token{Admin: true})
	third := env.token("c", order.Token{UserID: 2, Admin: true, Name: "shop"})
	if age := time.Since(first.CreatedAt); first.ID == 0 || second.ID <= first.ID || age < -time.Minute || age > time.Minute || !first.ExpiresAt.IsZero() {
		env.Errorf("made %+v, then %+v", first, second)
	}
	if first.UserID != 2 || first.Name != "browser \"ö\"" || !second.Admin || second.UserID != 0 {
		env.Errorf("made %+v, then %+v", first, second)
	}
	other := env.under(Rules()) // another process sees the same
	other.wantToken("a", first)
	other.wantToken("b", second)
	other.wantToken("A", order.Token{})
	if _, err := env.CreateToken(env.Context(), order.Token{UserID: 1}, hashOf("a")); err == nil {
		env.Error("two tokens under one hash")
	}

	for range 2 { // again changes nothing
		if err := env.RevokeToken(env.Context(), first.ID); err != nil {
			env.Fatal(err)
		}
	}
	other.wantToken("a", order.Token{})
	other.wantToken("b", second)
	env.wantCode(env.RevokeToken(env.Context(), third.ID+100), order.CodeNotFound)
	list, err := other.Tokens(env.Context())
	if err != nil || len(list) != 3 {
		env.Fatalf("%d tokens, %v", len(list), err)
	}
	if list[2].RevokedAt.IsZero() || list[2].RevokedAt.Before(first.CreatedAt) {
		env.Errorf("revoked at %s", list[2].RevokedAt)
	}
	list[2].RevokedAt = time.Time{}
	if diff := cmp.Diff([]order.Token{third, second, first}, list); diff != "" {
		env.Errorf("the list (-want +got):\n%s", diff)
	}
}

func tokenOver(env *testEnv) {
	env.sample(10)
	elsewhere := time.Now().Add(-10 * time.Hour) // by a clock that is wrong
	for text, c := range map[string]struct {
		lasts  time.Duration
		counts bool
	}{"an hour": {time.Hour, true}, "nothing": {0, false}, "less": {-time.Second, false}} {
		made := env.token(text, order.Token{UserID: 1, Name: text, CreatedAt: elsewhere, ExpiresAt: elsewhere.Add(c.lasts)})
		if got := made.ExpiresAt.Sub(made.CreatedAt); got != c.lasts {
			env.Errorf("%s: lasts for %s", text, got)
		}
		want := order.Token{}
		if c.counts {
			want = made
		}
		env.wantToken(text, want)
	}
	at := time.Now().UTC().Add(-time.Minute).Truncate(time.Microsecond)
	if made := env.token("at a time", order.Token{UserID: 1, ExpiresAt: at}); !made.ExpiresAt.Equal(at) {
		env.Errorf("ends at %s, want %s", made.ExpiresAt, at)
	}
	env.wantToken("at a time", order.Token{})
}

func tokenOfNobody(env *testEnv) {
	env.sample(10)
	_, err := env.CreateToken(env.Context(), order.Token{UserID: 99}, hashOf("a"))
	env.wantCode(err, order.CodeNotFound)
	env.wantToken("a", order.Token{})
	if list, err := env.Tokens(env.Context()); err != nil || len(list) != 0 {
		env.Errorf("tokens %v, %v", list, err)
	}
	env.token("b", order.Token{UserID: 1}) // the writer is none the worse
}

func usersByEmail(env *testEnv) {
	env.sample(10)
	for _, email := range []string{"alice@example.com", "ALICE@Example.COM"} {
		user, err := env.UserByEmail(env.Context(), email)
		if err != nil || user.ID != 1 || user.Name != "Alice" || user.Email != "alice@example.com" || user.PasswordHash == "" {
			env.Errorf("%s is %+v, %v", email, user, err)
		}
	}
	for _, email := range []string{
		"", "alice", "alice@example.com ", " alice@example.com", "älice@example.com", "alice@example.com\x00", "%", "' OR '1'='1", "ａlice@example.com",
		"alice@example.com'--", "\\", "alice@example.co", "\xff",
	} {
		user, err := env.UserByEmail(env.Context(), email)
		env.wantCode(err, order.CodeNotFound)
		if user != (order.User{}) {
			env.Errorf("%q is %+v", email, user)
		}
	}
}
