package auth

import (
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// known are hashes that others have made: those of the algorithm's own tests, and that of the sample data.
var known = map[string]string{
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":              "password",
	"$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc":              "password",
	"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94":            "differentpassword",
	"$argon2id$v=19$m=19456,t=2,p=1$PGUnUlbB/J6vGpdAGrtLig$OflJ8NdI9uAXEmCV/l6A0/qRVO3AG/bGkpyQy4y+SQQ": "password",
}

func TestKnownHashes(t *testing.T) {
	p := NewPasswords(PasswordOptions{})
	for stored, password := range known {
		if fits, err := p.Matches(t.Context(), password, stored); !fits || err != nil {
			t.Errorf("%s does not fit %s: %v", password, stored, err)
		}
		if fits, err := p.Matches(t.Context(), password+"x", stored); fits || err != nil {
			t.Errorf("%sx fits %s: %v", password, stored, err)
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
		t.Errorf("made %s, then %s", first, second)
	}
	for _, stored := range []string{first, second} {
		if fits, err := p.Matches(t.Context(), "p", stored); !fits || err != nil {
			t.Errorf("does not fit: %v", err)
		}
	}
	for _, password := range []string{"", "p", p.dummy} { // nobody's account
		if fits, err := p.Matches(t.Context(), password, ""); fits || err != nil {
			t.Errorf("%q fits an account that does not exist: %v", password, err)
		}
	}
}

// cheap is a hash that takes no time.
func cheap(password string, salt []byte) hash {
	h := hash{cost{memory: minMemory, time: 1, lanes: 1}, salt, make([]byte, minKey)}
	h.key = h.compute(password)
	return h
}

// A hash fits its own password and no other, also after its text was written and read.
func TestOnlyThePasswordFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password, other := rapid.String().Draw(t, "password"), rapid.String().Draw(t, "other")
		h := cheap(password, rapid.SliceOfN(rapid.Byte(), minSalt, maxSalt).Draw(t, "salt"))
		read, err := parseHash(h.String())
		if err != nil {
			t.Fatal(err)
		}
		if !read.matches(password) || read.matches(other) != (other == password) {
			t.Fatalf("%q fits %t, %q fits %t", password, read.matches(password), other, read.matches(other))
		}
	})
}

// Whatever is read as a hash is within bounds, and is written the way that it was read.
func TestParseHash(t *testing.T) {
	number := rapid.OneOf(rapid.Just(uint32(1)), rapid.Uint32Range(0, 100_000), rapid.Uint32())
	encoded := rapid.Custom(func(t *rapid.T) string {
		return base64.RawStdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "bytes"))
	})
	rapid.Check(t, func(t *rapid.T) {
		h := hash{cost: cost{number.Draw(t, "memory"), number.Draw(t, "time"), uint8(number.Draw(t, "lanes"))}}
		text := h.String() + encoded.Draw(t, "salt")
		text = strings.TrimSuffix(text, "$") + "$" + encoded.Draw(t, "key")
		if rapid.Bool().Draw(t, "rubbish") {
			text = rapid.String().Draw(t, "text")
		}
		read, err := parseHash(text)
		if err != nil {
			return
		}
		if !read.bounded() || read.String() != text {
			t.Fatalf("%q was read as %+v", text, read)
		}
	})
}

// What would take the server down is not even begun, and the error does not show the hash.
func TestAbsurdHashes(t *testing.T) {
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
		fits, err := p.Matches(t.Context(), "password", stored)
		if fits || err == nil || strings.Contains(err.Error(), stored) {
			t.Errorf("%s: fits %t, %v", stored, fits, err)
		}
	}
}
