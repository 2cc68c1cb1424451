package storetest

import (
	"crypto/sha256"
	"time"

	"github.com/google/go-cmp/cmp"

	"orderflow/internal/order"
)

var tokenTests = map[string]func(*house){
	"a token's life":                   tokenLife,
	"a token is over":                  tokenOver,
	"who is no user has no token":      tokenOfNobody,
	"users by e-mail, whatever a case": usersByEmail,
}

// hashOf is what a token is kept under.
func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func (h *house) token(text string, token order.Token) order.Token {
	h.Helper()
	made, err := h.CreateToken(h.Context(), token, hashOf(text))
	if err != nil {
		h.Fatal(err)
	}
	return made
}

// wantToken looks for a token; the zero Token is for one that does not count.
func (h *house) wantToken(text string, want order.Token) {
	h.Helper()
	got, err := h.TokenByHash(h.Context(), hashOf(text))
	if want == (order.Token{}) {
		h.wantCode(err, order.CodeUnauthenticated)
	} else if err != nil {
		h.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.Errorf("token %s (-want +got):\n%s", text, diff)
	}
}

func tokenLife(h *house) {
	h.sample(10)
	h.wantToken("a", order.Token{})
	first := h.token("a", order.Token{UserID: 2, Name: "browser \"ö\""})
	second := h.token("b", order.Token{Admin: true})
	third := h.token("c", order.Token{UserID: 2, Admin: true, Name: "shop"})
	if age := time.Since(first.CreatedAt); first.ID == 0 || second.ID <= first.ID || age < -time.Minute || age > time.Minute || !first.ExpiresAt.IsZero() {
		h.Errorf("made %+v, then %+v", first, second)
	}
	if first.UserID != 2 || first.Name != "browser \"ö\"" || !second.Admin || second.UserID != 0 {
		h.Errorf("made %+v, then %+v", first, second)
	}
	other := h.under(Rules()) // another process sees the same
	other.wantToken("a", first)
	other.wantToken("b", second)
	other.wantToken("A", order.Token{})
	if _, err := h.CreateToken(h.Context(), order.Token{UserID: 1}, hashOf("a")); err == nil {
		h.Error("two tokens under one hash")
	}

	for range 2 { // again changes nothing
		if err := h.RevokeToken(h.Context(), first.ID); err != nil {
			h.Fatal(err)
		}
	}
	other.wantToken("a", order.Token{})
	other.wantToken("b", second)
	h.wantCode(h.RevokeToken(h.Context(), third.ID+100), order.CodeNotFound)
	list, err := other.Tokens(h.Context())
	if err != nil || len(list) != 3 {
		h.Fatalf("%d tokens, %v", len(list), err)
	}
	if list[2].RevokedAt.IsZero() || list[2].RevokedAt.Before(first.CreatedAt) {
		h.Errorf("taken back at %s", list[2].RevokedAt)
	}
	list[2].RevokedAt = time.Time{}
	if diff := cmp.Diff([]order.Token{third, second, first}, list); diff != "" {
		h.Errorf("the list (-want +got):\n%s", diff)
	}
}

func tokenOver(h *house) {
	h.sample(10)
	elsewhere := time.Now().Add(-10 * time.Hour) // by a clock that is wrong
	for text, c := range map[string]struct {
		lasts  time.Duration
		counts bool
	}{"an hour": {time.Hour, true}, "nothing": {0, false}, "less": {-time.Second, false}} {
		made := h.token(text, order.Token{UserID: 1, Name: text, CreatedAt: elsewhere, ExpiresAt: elsewhere.Add(c.lasts)})
		if got := made.ExpiresAt.Sub(made.CreatedAt); got != c.lasts {
			h.Errorf("%s: lasts for %s", text, got)
		}
		want := order.Token{}
		if c.counts {
			want = made
		}
		h.wantToken(text, want)
	}
	at := time.Now().UTC().Add(-time.Minute).Truncate(time.Microsecond)
	if made := h.token("at a time", order.Token{UserID: 1, ExpiresAt: at}); !made.ExpiresAt.Equal(at) {
		h.Errorf("ends at %s, want %s", made.ExpiresAt, at)
	}
	h.wantToken("at a time", order.Token{})
}

func tokenOfNobody(h *house) {
	h.sample(10)
	_, err := h.CreateToken(h.Context(), order.Token{UserID: 99}, hashOf("a"))
	h.wantCode(err, order.CodeNotFound)
	h.wantToken("a", order.Token{})
	if list, err := h.Tokens(h.Context()); err != nil || len(list) != 0 {
		h.Errorf("tokens %v, %v", list, err)
	}
	h.token("b", order.Token{UserID: 1}) // the writer is none the worse
}

func usersByEmail(h *house) {
	h.sample(10)
	for _, email := range []string{"alice@example.com", "ALICE@Example.COM"} {
		user, err := h.UserByEmail(h.Context(), email)
		if err != nil || user.ID != 1 || user.Name != "Alice" || user.Email != "alice@example.com" || user.PasswordHash == "" {
			h.Errorf("%s is %+v, %v", email, user, err)
		}
	}
	for _, email := range []string{
		"", "alice", "alice@example.com ", " alice@example.com", "älice@example.com", "alice@example.com\x00", "%", "' OR '1'='1", "ａlice@example.com",
		"alice@example.com'--", "\\", "alice@example.co", "\xff",
	} {
		user, err := h.UserByEmail(h.Context(), email)
		h.wantCode(err, order.CodeNotFound)
		if user != (order.User{}) {
			h.Errorf("%q is %+v", email, user)
		}
	}
}
