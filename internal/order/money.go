package order

import (
	"math"
	"strconv"
)

// Money is an exact, signed amount in minor units (cents). Orderflow supports currencies with two decimals.
type Money int64

// MaxMoney is the largest amount that DECIMAL(10,2) holds: 99,999,999.99.
const MaxMoney Money = 99_999_999_99

// ParseMoney parses an amount such as "12", "12.3" or "-12.34": digits with at most two decimals and an optional minus, without
// exponent or grouping. Amounts beyond ±MaxMoney are errors.
func ParseMoney(s string) (Money, error) {
	bad := func() (Money, error) {
		return 0, Invalid("amount", "must be a decimal number with at most two decimals, such as 2029.97, up to "+MaxMoney.String())
	}
	digits, negative := s, false
	if digits != "" && digits[0] == '-' {
		digits, negative = digits[1:], true
	}
	var units int64
	seen, decimals := 0, -1
	for i := range len(digits) {
		c := digits[i]
		switch {
		case c == '.' && decimals < 0 && seen > 0:
			decimals = 0
		case c >= '0' && c <= '9' && decimals < 2:
			units = units*10 + int64(c-'0')
			seen++
			if decimals >= 0 {
				decimals++
			}
		default:
			return bad()
		}
		if units > int64(MaxMoney) {
			return bad()
		}
	}
	if seen == 0 || decimals == 0 {
		return bad()
	}
	for ; decimals < 2; decimals++ {
		if decimals < 0 {
			decimals = 0
		}
		units *= 10
	}
	if units > int64(MaxMoney) {
		return bad()
	}
	if negative {
		units = -units
	}
	return Money(units), nil
}

// Append appends the amount with two decimals, such as 2029.97.
func (m Money) Append(dst []byte) []byte {
	units := uint64(m)
	if m < 0 {
		dst = append(dst, '-')
		units = -units
	}
	dst = strconv.AppendUint(dst, units/100, 10)
	return append(dst, '.', byte('0'+units/10%10), byte('0'+units%10))
}

// String returns the amount with two decimals, such as "2029.97".
func (m Money) String() string { return string(m.Append(nil)) }

// Times returns the product of the amount and a quantity; ok is false when it exceeds MaxMoney or either is negative.
func (m Money) Times(quantity int64) (product Money, ok bool) {
	if m < 0 || quantity < 0 {
		return 0, false
	}
	if m != 0 && quantity > int64(MaxMoney)/int64(m) {
		return 0, false
	}
	return m * Money(quantity), true
}

// Plus returns the sum of two amounts; ok is false when it is beyond ±MaxMoney.
func (m Money) Plus(other Money) (sum Money, ok bool) {
	if (other > 0 && m > math.MaxInt64-other) || (other < 0 && m < math.MinInt64-other) {
		return 0, false
	}
	sum = m + other
	return sum, sum <= MaxMoney && sum >= -MaxMoney
}
