package order

import (
	"testing"
)

func TestCaller(t *testing.T) {
	for _, c := range []struct {
		name        string
		caller      Caller
		actor       string
		own, others bool // user 7
		anonymous   bool
	}{
		{"no token", Caller{}, "anonymous", true, true, true},
		{"a user", Token{ID: 3, UserID: 7}.Caller(), "user:7", true, false, false},
		{"an admin", Token{ID: 3, Admin: true}.Caller(), "token:3", true, true, false},
		{"an admin who is a user", Token{ID: 3, UserID: 7, Admin: true}.Caller(), "token:3", true, true, false},
		{"the operator", Operator(), "operator", true, true, true},
		{"a token without a user", Token{ID: 3}.Caller(), "user:0", false, false, false},
	} {
		if got := c.caller.Actor(); got != c.actor {
			t.Errorf("%s has the actor %q, want %q", c.name, got, c.actor)
		}
		if own, others := c.caller.MayActFor(7), c.caller.MayActFor(8); own != c.own || others != c.others {
			t.Errorf("%s may act for user 7: %t, for user 8: %t", c.name, own, others)
		}
		if c.caller.Anonymous() != c.anonymous {
			t.Errorf("%s is anonymous: %t", c.name, c.caller.Anonymous())
		}
	}
}

func TestFoldEmail(t *testing.T) {
	for email, want := range map[string]string{
		"Alice@EXAMPLE.com": "alice@example.com", "ÉK\u212a@x": "Ék\u212a@x", "": "", "ſs": "ſs",
	} {
		if got := FoldEmail(email); got != want {
			t.Errorf("%q becomes %q, want %q", email, got, want)
		}
	}
}
