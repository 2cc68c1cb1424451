package auth

import (
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// known are hashes of other implementations: those of the algorithm's own tests, and that of the sample data.
var known = map[string]string{
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":              "password",
	"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc":              "password",
	"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94":            "differentpassword",
	"$argon2id$v=19$m=19456,t=2,p=1$PGUnUlbB/J6vGpdAGrtLig$OflJ8NdI9uAXEmCV/l6A0/qRVO3AG/bGkpyQy4y+SQQ": "password",
}

func TestKnownHashes(t *testing.T) {
	p := NewPasswords(PasswordOptions{})
	for stored, password := range known {
		if matches, err := p.Matches(t.Context(), password, stored); !matches || err != nil {
			t.Errorf("%s does not match %s: %v", password, stored, err)
		}
		if matches, err := p.Matches(t.Context(), password+"x", stored); matches || err != nil {
			t.Errorf("%sx matches %s: %v", password, stored, err)
		}
	}
}

func TestHashes(t *testing.T) {
	p := NewPasswords(PasswordOptions{})
	first, err := p.Hash(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Hash(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	if first == second || !strings.HasPrefix(first, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hashed as %s, then as %s", first, second)
	}
	for _, stored := range []string{first, second} {
		if matches, err := p.Matches(t.Context(), "p", stored); !matches || err != nil {
			t.Errorf("the password does not match: %v", err)
		}
	}
	for _, password := range []string{"", "p", p.dummy} { // an account that does not exist
		if matches, err := p.Matches(t.Context(), password, ""); matches || err != nil {
			t.Errorf("%q matches an account that does not exist: %v", password, err)
		}
	}
}

// cheap returns a hash of the lowest cost.
func cheap(password string, salt []byte) hash {
	h := hash{cost{memory: minMemory, time: 1, lanes: 1}, salt, make([]byte, minKey)}
	h.key = h.compute(password)
	return h
}

// A hash matches its own password and no other, also after it was formatted and parsed.
func TestOnlyThePasswordMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password, other := rapid.String().Draw(t, "password"), rapid.String().Draw(t, "other")
		h := cheap(password, rapid.SliceOfN(rapid.Byte(), minSalt, maxSalt).Draw(t, "salt"))
		read, err := parseHash(h.String())
		if err != nil {
			t.Fatal(err)
		}
		if !read.matches(password) || read.matches(other) != (other == password) {
			t.Fatalf("%q matches %t, %q matches %t", password, read.matches(password), other, read.matches(other))
		}
	})
}

// A text that is parsed as a hash is within bounds, and is formatted as the same text.
func TestParseHash(t *testing.T) {
	number := rapid.OneOf(rapid.Just(uint32(1)), rapid.Uint32Range(0, 100_000), rapid.Uint32())
	encoded := rapid.Custom(func(t *rapid.T) string {
		return base64.RawStdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "bytes"))
	})
	rapid.Check(t, func(t *rapid.T) {
		h := hash{cost: cost{number.Draw(t, "memory"), number.Draw(t, "time"), uint8(number.Draw(t, "lanes"))}}
		text := h.String() + encoded.Draw(t, "salt")
		text = strings.TrimSuffix(text, "$") + "$" + encoded.Draw(t, "key")
		if rapid.Bool().Draw(t, "garbage") {
			text = rapid.String().Draw(t, "text")
		}
		read, err := parseHash(text)
		if err != nil {
			return
		}
		if !read.bounded() || read.String() != text {
			t.Fatalf("%q was parsed as %+v", text, read)
		}
	})
}

// A hash that costs too much is not computed, and the error does not contain it.
func TestHashesOutOfBounds(t *testing.T) {
	p := NewPasswords(PasswordOptions{Observe: func(int) { t.Error("a hash was computed") }})
	const salt, key = "c29tZXNhbHQ", "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for _, stored := range []string{
		"hunter2", "$2y$10$abcdefghijklmnopqrstuv", "$argon2id", "$$$$$",
		"$argon2i$v=19$m=256,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=65537,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=11,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=0,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=2,p=0$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=2,p=5$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=2,p=257$" + salt + "$" + key,
		"$argon2id$v=19$m=4,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=-1,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=0256,t=2,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=2,p=1 $" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=2,p=1,x=1$" + salt + "$" + key,
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "=$" + key,
		"$argon2id$v=19$m=256,t=2,p=1$$" + key,
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$",
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + key + "$",
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + key[:12],
		"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + strings.Repeat("AAAA", 30),
	} {
		matches, err := p.Matches(t.Context(), "password", stored)
		if matches || err == nil || strings.Contains(err.Error(), stored) {
			t.Errorf("%s: matches %t, %v", stored, matches, err)
		}
	}
}
