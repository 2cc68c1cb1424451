package order

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMoney(t *testing.T) {
	good := map[string]Money{
		"0": 0, "0.00": 0, "-0": 0, "12": 1200, "12.3": 1230, "12.34": 1234, "2029.97": 202997, "0.01": 1, "-0.01": -1,
		"007": 700, "00.5": 50, "99999999.99": MaxMoney, "99999999.9": MaxMoney - 9, "-99999999.99": -MaxMoney,
		"000000000000000000000000000000001": 100,
	}
	for s, want := range good {
		if got, err := ParseMoney(s); err != nil || got != want {
			t.Errorf("ParseMoney(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	bad := []string{
		"", "-", "+1", "--1", ".", ".5", "5.", "-.5", "1.234", "1.2.3", "1,5", "1 ", " 1", "1e3", "0x1", "١", "1_000", "NaN", "Inf",
		"100000000", "100000000.00", "9999999999", "99999999990", "-100000000", "9223372036854775807", "18446744073709551616",
		"99999999999999999999999999999999",
	}
	for _, s := range bad {
		if got, err := ParseMoney(s); CodeOf(err) != CodeValidation {
			t.Errorf("ParseMoney(%q) = %d, %v; want a validation error", s, got, err)
		}
	}
}

func TestMoneyString(t *testing.T) {
	for m, want := range map[Money]string{
		0: "0.00", 1: "0.01", -1: "-0.01", 10: "0.10", 99: "0.99", 100: "1.00", -100: "-1.00", 202997: "2029.97",
		MaxMoney: "99999999.99", math.MaxInt64: "92233720368547758.07", math.MinInt64: "-92233720368547758.08",
	} {
		if got := m.String(); got != want {
			t.Errorf("Money(%d).String() = %q, want %q", m, got, want)
		}
		if got := string(m.Append([]byte("x"))); got != "x"+want {
			t.Errorf("Money(%d).Append = %q, want it after what is there", m, got)
		}
	}
}

func TestMoneyBounds(t *testing.T) {
	times := []struct {
		m    Money
		n    int64
		want Money
		ok   bool
	}{
		{99999, 2, 199998, true},
		{0, math.MaxInt64, 0, true},
		{MaxMoney, 0, 0, true},
		{MaxMoney, 1, MaxMoney, true},
		{1, int64(MaxMoney), MaxMoney, true},
		{1, int64(MaxMoney) + 1, 0, false},
		{MaxMoney, 2, 0, false},
		{MaxMoney, math.MaxInt64, 0, false},
		{math.MaxInt64, math.MaxInt64, 0, false},
		{math.MaxInt64, 1, 0, false},
		{-1, 1, 0, false},
		{1, -1, 0, false},
	}
	for _, c := range times {
		if got, ok := c.m.Times(c.n); got != c.want || ok != c.ok {
			t.Errorf("%d times %d = %d, %v; want %d, %v", c.m, c.n, got, ok, c.want, c.ok)
		}
	}
	plus := []struct {
		a, b Money
		ok   bool
	}{
		{MaxMoney - 1, 1, true},
		{MaxMoney, 1, false},
		{-MaxMoney + 1, -1, true},
		{-MaxMoney, -1, false},
		{MaxMoney, -MaxMoney, true},
		{math.MaxInt64, 1, false},
		{math.MinInt64, -1, false},
		{math.MaxInt64, math.MaxInt64, false},
		{math.MinInt64, math.MinInt64, false},
	}
	for _, c := range plus {
		if got, ok := c.a.Plus(c.b); ok != c.ok || (ok && got != c.a+c.b) {
			t.Errorf("%d plus %d = %d, %v; want ok %v", c.a, c.b, got, ok, c.ok)
		}
	}
}

// TestMoneyAgainstBigIntegers holds sums and products against arithmetic that cannot overflow.
func TestMoneyAgainstBigIntegers(t *testing.T) {
	anyMoney := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-int64(MaxMoney), int64(MaxMoney)), rapid.Int64Range(0, 1_000_000))
	inRange := func(v *big.Int) bool { return v.CmpAbs(big.NewInt(int64(MaxMoney))) <= 0 }
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyMoney.Draw(t, "a"), anyMoney.Draw(t, "b")
		exact := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		if sum, ok := Money(a).Plus(Money(b)); ok != inRange(exact) || (ok && exact.Int64() != int64(sum)) {
			t.Fatalf("%d + %d = %d, %v", a, b, sum, ok)
		}
		exact.Mul(big.NewInt(a), big.NewInt(b))
		want := a >= 0 && b >= 0 && inRange(exact)
		if product, ok := Money(a).Times(b); ok != want || (ok && exact.Int64() != int64(product)) {
			t.Fatalf("%d * %d = %d, %v", a, b, product, ok)
		}
		if back, err := ParseMoney(Money(a).String()); (err == nil) != inRange(big.NewInt(a)) || (err == nil && back != Money(a)) {
			t.Fatalf("%d is written %s and read back as %d, %v", a, Money(a), back, err)
		}
	})
}

func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"", "0", "-0", "12.34", "99999999.99", "100000000", "1.", ".1", "1e9", "00000000000000000000.1", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMoney(s)
		if err != nil {
			if m != 0 || CodeOf(err) != CodeValidation {
				t.Fatalf("ParseMoney(%q) = %d, %v", s, m, err)
			}
			return
		}
		exact, ok := new(big.Rat).SetString(s)
		if !ok || exact.Mul(exact, big.NewRat(100, 1)).Cmp(new(big.Rat).SetInt64(int64(m))) != 0 {
			t.Fatalf("ParseMoney(%q) = %d, which is not exact", s, m)
		}
		if again, err := ParseMoney(m.String()); err != nil || again != m {
			t.Fatalf("%q reads as %d, is written %s and reads again as %d, %v", s, m, m, again, err)
		}
	})
}
