package auth_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/auth"
	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/test/env"
)

// testAuth is an Authenticator over a real store with the sample users.
type testAuth struct {
	*auth.Authenticator
	store  *store.Store
	tokens *tokens

	hashes, inFlight, most atomic.Int64
}

// tokens is the store. Tests can count, hold and fail its look-ups.
type tokens struct {
	*store.Store
	lookUps, running, most atomic.Int64
	hold                   atomic.Pointer[chan struct{}] // look-ups wait for it before they read
	after                  atomic.Pointer[chan struct{}] // and for this one before they return
	fault                  atomic.Pointer[order.Error]
}

func (t *tokens) UserByEmail(ctx context.Context, email string) (order.User, error) {
	if fault := t.fault.Load(); fault != nil {
		return order.User{}, fault
	}
	return t.Store.UserByEmail(ctx, email)
}

func (t *tokens) TokenByHash(ctx context.Context, hash []byte) (order.Token, error) {
	t.lookUps.Add(1)
	raise(&t.most, t.running.Add(1))
	defer t.running.Add(-1)
	if hold := t.hold.Load(); hold != nil {
		<-*hold
	}
	if fault := t.fault.Load(); fault != nil {
		return order.Token{}, fault
	}
	token, err := t.Store.TokenByHash(ctx, hash)
	if after := t.after.Load(); after != nil {
		<-*after
	}
	return token, err
}

// raise raises most to at least n.
func raise(most *atomic.Int64, n int64) {
	for {
		old := most.Load()
		if n <= old || most.CompareAndSwap(old, n) {
			return
		}
	}
}

var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "orderflow-auth")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path, ctx := filepath.Join(dir, "template.db"), context.Background()
	s, err := store.Open(ctx, "sqlite:"+path, store.Options{Rules: order.DefaultRules()})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Migrate(ctx), s.Seed(ctx, store.SeedPlan{}), s.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func open(t *testing.T) *testAuth {
	t.Helper()
	content, err := template()
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
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &testAuth{store: s, tokens: &tokens{Store: s}}
	h.Authenticator = auth.New(auth.Options{
		Tokens: h.tokens, Users: h.tokens, Passwords: auth.NewPasswords(auth.PasswordOptions{Concurrency: 2, Observe: h.observe}),
	})
	return h
}

func (h *testAuth) observe(change int) {
	raise(&h.most, h.inFlight.Add(int64(change)))
	if change > 0 {
		h.hashes.Add(1)
	}
}

func (h *testAuth) token(t *testing.T, about order.Token, lifetime time.Duration) (string, order.Token) {
	t.Helper()
	token, about, err := auth.NewToken(t.Context(), h.store, about, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return token, about
}

func wantCode(t *testing.T, err error, want order.Code) {
	t.Helper()
	if got := order.CodeOf(err); got != want {
		t.Errorf("code %q (%v), want %q", got, err, want)
	}
}

func TestLogIn(t *testing.T) {
	h := open(t)
	token, about, err := h.LogIn(t.Context(), "ALICE@example.com", "password", "browser", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if about.UserID != 1 || about.Admin || about.Name != "browser" || about.ExpiresAt.Sub(about.CreatedAt) != time.Hour {
		t.Errorf("the token is %+v", about)
	}
	caller, err := h.Check(t.Context(), token)
	if want := (order.Caller{UserID: 1, TokenID: about.ID}); caller != want || err != nil {
		t.Errorf("the caller is %+v, %v, want %+v", caller, err, want)
	}
	again, _, err := h.LogIn(t.Context(), "alice@example.com", "password", "", 0)
	if err != nil || again == token {
		t.Errorf("a second log-in: the same token %t, %v", again == token, err)
	}
	if _, err := h.store.UserByEmail(t.Context(), token); err == nil {
		t.Error("the token itself is stored")
	}
}

// An unknown address and a wrong password get the same answer after the same work.
func TestLogInRevealsNoAccounts(t *testing.T) {
	h := open(t)
	var answers []string
	for _, c := range [][2]string{{"alice@example.com", "wrong"}, {"nobody@example.com", "password"}, {"nobody@example.com", ""}} {
		before := h.hashes.Load()
		token, about, err := h.LogIn(t.Context(), c[0], c[1], "", 0)
		wantCode(t, err, order.CodeUnauthenticated)
		if worked := h.hashes.Load() - before; worked != 1 || token != "" || about != (order.Token{}) {
			t.Errorf("%q: %d hashes, %q, %+v", c, worked, token, about)
		}
		answers = append(answers, fmt.Sprint(order.CodeOf(err), err))
	}
	if answers[0] != answers[1] || answers[0] != answers[2] {
		t.Errorf("the answers differ: %q", answers)
	}
}

// Of many log-ins at once, two compute a hash at a time, which needs the memory. The others wait or are refused.
func TestConcurrentLogIns(t *testing.T) {
	h := open(t)
	var ok, over atomic.Int64
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, _, err := h.LogIn(t.Context(), []string{"alice@example.com", "nobody@example.com"}[i%2], "password", "", 0)
			switch order.CodeOf(err) {
			case "", order.CodeUnauthenticated:
				ok.Add(1)
			case order.CodeOverloaded:
				over.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if h.most.Load() != 2 || h.inFlight.Load() != 0 || h.hashes.Load() != ok.Load() {
		t.Errorf("%d hashes at once, %d running, %d computed for %d log-ins", h.most.Load(), h.inFlight.Load(), h.hashes.Load(), ok.Load())
	}
	if ok.Load() < 2 || ok.Load()+over.Load() != 200 {
		t.Errorf("%d log-ins were served, %d refused", ok.Load(), over.Load())
	}
	t.Logf("%d log-ins were served, %d refused", ok.Load(), over.Load())
}

// A log-in that finds a full queue is refused at once. One that leaves the queue frees its place.
func TestLogInQueue(t *testing.T) {
	begun, hold := make(chan struct{}, 10), make(chan struct{})
	p := auth.NewPasswords(auth.PasswordOptions{Concurrency: 1, Queue: 1, Wait: time.Minute, Observe: func(change int) {
		if change > 0 {
			begun <- struct{}{}
			<-hold
		}
	}})
	start := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := p.Matches(ctx, "x", "")
			done <- err
		}()
		return done
	}
	first := start(t.Context())
	<-begun
	ctx, leave := context.WithCancel(t.Context())
	second := start(ctx)
	env.Eventually(t, "a third check is refused while the second waits", func() bool {
		_, err := p.Matches(alreadyOver(t), "x", "")
		return order.CodeOf(err) == order.CodeOverloaded
	})
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left got %v, want context.Canceled", err)
	}
	third := start(t.Context())
	close(hold)
	if err := errors.Join(<-first, <-third); err != nil {
		t.Error(err)
	}
}

// The wait in the queue is bounded.
func TestLogInQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := auth.NewPasswords(auth.PasswordOptions{Concurrency: 1, Observe: func(change int) {
			if change > 0 {
				<-hold
			}
		}})
		var first sync.WaitGroup
		first.Go(func() { _, _ = p.Matches(t.Context(), "x", "") })
		synctest.Wait()
		began := time.Now()
		_, err := p.Matches(t.Context(), "x", "")
		wantCode(t, err, order.CodeOverloaded)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("waited for %s", took)
		}
		close(hold)
		first.Wait()
	})
}

func alreadyOver(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestMalformedTokensNeedNoLookUp(t *testing.T) {
	h := open(t)
	for _, token := range []string{"", "of_", "x", strings.Repeat("A", 1<<20), "of_ABCDEFGHIJKLMNOPQRSTUVWXY\n", "of_' OR 1=1 --"} {
		_, err := h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)
	}
	if lookUps := h.tokens.lookUps.Load(); lookUps != 0 {
		t.Errorf("%d look-ups", lookUps)
	}
}

// A check is cached for five seconds. A token that another process revoked is accepted that long at most.
func TestChecksExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		elsewhere := auth.New(auth.Options{Tokens: h.store, Users: h.store, Passwords: auth.NewPasswords(auth.PasswordOptions{})})
		token, about := h.token(t, order.Token{UserID: 2}, 0)
		for range 100 {
			if caller, err := h.Check(t.Context(), token); caller.UserID != 2 || err != nil {
				t.Fatalf("the caller is %+v, %v", caller, err)
			}
			if _, err := h.Check(t.Context(), "of_ABCDEFGHIJKLMNOPQRSTUVWXYZ"); order.CodeOf(err) != order.CodeUnauthenticated {
				t.Fatal(err)
			}
		}
		if lookUps := h.tokens.lookUps.Load(); lookUps != 2 {
			t.Errorf("%d look-ups for two tokens, want 2", lookUps)
		}
		if err := elsewhere.Revoke(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		_, err := elsewhere.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)
		time.Sleep(5*time.Second - time.Millisecond)
		if caller, err := h.Check(t.Context(), token); caller.TokenID != about.ID || err != nil {
			t.Errorf("the caller is %+v, %v", caller, err)
		}
		time.Sleep(time.Millisecond)
		_, err = h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)
		wantCode(t, h.Revoke(t.Context(), token), order.CodeUnauthenticated)
	})
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		token, _ := h.token(t, order.Token{Admin: true, Name: "shop"}, time.Hour)
		if caller, err := h.Check(t.Context(), token); !caller.Admin || err != nil {
			t.Errorf("the caller is %+v, %v", caller, err)
		}
		time.Sleep(time.Hour + 5*time.Second)
		_, err := h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)
	})
}

// Concurrent checks of one token share a look-up. The number of concurrent look-ups is bounded.
func TestLookUpsAreShared(t *testing.T) {
	h := open(t)
	token, _ := h.token(t, order.Token{UserID: 1}, 0)
	hold := make(chan struct{})
	h.tokens.hold.Store(&hold)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if caller, err := h.Check(t.Context(), token); caller.UserID != 1 || err != nil {
				t.Errorf("the caller is %+v, %v", caller, err)
			}
		})
	}
	env.Eventually(t, "a look-up has begun", func() bool { return h.tokens.lookUps.Load() > 0 })
	if _, err := h.Check(alreadyOver(t), token); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that left got %v, want context.Canceled", err)
	}
	for i := range 100 {
		all.Go(func() {
			_, err := h.Check(t.Context(), fmt.Sprintf("of_%c%cAAAAAAAAAAAAAAAAAAAAAAAA", 'A'+i%10, 'A'+i/10))
			wantCode(t, err, order.CodeUnauthenticated)
		})
	}
	env.Eventually(t, "16 look-ups run", func() bool { return h.tokens.running.Load() == 16 })
	close(hold)
	all.Wait()
	if lookUps, most := h.tokens.lookUps.Load(), h.tokens.most.Load(); lookUps != 101 || most != 16 {
		t.Errorf("%d look-ups for 101 tokens, %d at once, want 101 and 16", lookUps, most)
	}
}

// A token that this Authenticator revoked is refused from then on, also when a look-up found it just before.
func TestRevokeTakesEffectAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		token, _ := h.token(t, order.Token{UserID: 1}, 0)
		if _, err := h.Check(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if err := h.Revoke(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		_, err := h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)

		token, about := h.token(t, order.Token{UserID: 1}, 0)
		found := make(chan struct{})
		h.tokens.after.Store(&found)
		var both sync.WaitGroup
		both.Go(func() { _, _ = h.Check(t.Context(), token) })
		synctest.Wait() // the look-up has found the token and waits
		both.Go(func() {
			if err := h.Revoke(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
		h.tokens.after.Store(nil)
		close(found)
		both.Wait()
		if list, err := h.store.Tokens(t.Context()); err != nil || list[0].ID != about.ID || list[0].RevokedAt.IsZero() {
			t.Errorf("tokens %+v, %v", list, err)
		}
		_, err = h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)
	})
}

// Guesses displace the entry of a revoked token among the invalid ones. The token stays refused.
func TestRevokedTokenStaysInvalidDuringGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		token, _ := h.token(t, order.Token{UserID: 1}, 0)
		if err := h.Revoke(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		for i := range 10_000 { // the size of the cache of invalid tokens
			_, err := h.Check(t.Context(), fmt.Sprintf("of_%c%c%c%cAAAAAAAAAAAAAAAAAAAAAA", 'A'+i%10, 'A'+i/10%10, 'A'+i/100%10, 'A'+i/1000))
			if order.CodeOf(err) != order.CodeUnauthenticated {
				t.Fatalf("a guess: %v", err)
			}
		}
		_, err := h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnauthenticated)
	})
}

// While the database is unavailable, no token and no password is reported as wrong, and nothing is cached.
func TestDatabaseUnavailable(t *testing.T) {
	h := open(t)
	token, _ := h.token(t, order.Token{UserID: 1}, 0)
	h.tokens.fault.Store(order.Errorf(order.CodeUnavailable, "unavailable"))
	for range 2 {
		_, err := h.Check(t.Context(), token)
		wantCode(t, err, order.CodeUnavailable)
		_, _, err = h.LogIn(t.Context(), "alice@example.com", "password", "", 0)
		wantCode(t, err, order.CodeUnavailable)
		wantCode(t, h.Revoke(t.Context(), token), order.CodeUnavailable)
	}
	if lookUps := h.tokens.lookUps.Load(); lookUps != 4 {
		t.Errorf("%d look-ups", lookUps)
	}
	h.tokens.fault.Store(nil)
	if caller, err := h.Check(t.Context(), token); caller.UserID != 1 || err != nil {
		t.Errorf("with the database again, the caller is %+v, %v", caller, err)
	}
}
