package lock_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"orderflow/internal/lock"
)

func TestNewToken(t *testing.T) {
	seen := make(map[string]bool)
	for range 10_000 {
		token := lock.NewToken()
		if !lock.Ours(token) {
			t.Fatalf("Ours(%q) = false", token)
		}
		if seen[token] {
			t.Fatalf("%q is a duplicate", token)
		}
		seen[token] = true
		if err := uuid.Validate(token); err != nil {
			t.Fatalf("%q is not a UUID: %v", token, err)
		}
	}
}

func TestOursRejectsForeignTokens(t *testing.T) {
	ours := lock.NewToken()
	for name, token := range map[string]string{
		"empty":             "",
		"another word":      "locked by hand",
		"random UUID":       "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
		"our mark, random":  ours[:14] + "4" + ours[15:],
		"our mark, variant": ours[:19] + "c" + ours[20:],
		"version 8 alone":   "1b4e28ba-2fa1-81d2-883f-0016d3cca427",
		"upper case":        strings.ToUpper(ours),
		"urn":               "urn:uuid:" + ours,
		"braces":            "{" + ours + "}",
		"bare digits":       strings.ReplaceAll(ours, "-", ""),
		"cut short":         ours[:35],
		"longer":            ours + "0",
	} {
		if lock.Ours(token) {
			t.Errorf("%s: Ours(%q) = true", name, token)
		}
	}
}

func FuzzOurs(f *testing.F) {
	f.Add(lock.NewToken())
	f.Add("urn:uuid:1b4e28ba-2fa1-81d2-883f-0016d3cca427")
	f.Fuzz(func(t *testing.T, token string) {
		if lock.Ours(token) && (len(token) != 36 || uuid.Validate(token) != nil || token != strings.ToLower(token)) {
			t.Errorf("Ours(%q) = true, but it is not a UUID in lower case", token)
		}
	})
}
