package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// mustBe returns the error for an invalid value. The value is shortened and quoted, so that the error stays one line.
func mustBe(what, text string) error {
	const shown = 60
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	return fmt.Errorf("must be %s, not %q", what, text)
}

// plain reports whether a text is valid UTF-8 of printable characters only.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// text reads any printable text of at most limit bytes.
func text(limit int) codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if len(text) > limit || !plain(text) {
				return "", mustBe(fmt.Sprintf("printable text of at most %d bytes", limit), text)
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}

// secret reads any printable text. Its errors do not show the value.
func secret() codec[Secret] {
	return codec[Secret]{
		parse: func(text string) (Secret, error) {
			if len(text) > 4096 || !plain(text) {
				return Secret{}, errors.New("must be printable text of at most 4096 bytes")
			}
			return NewSecret(text), nil
		},
		print: Secret.Reveal,
		show:  Secret.String,
	}
}

// oneOf reads one of several words.
func oneOf[T ~string](words ...T) codec[T] {
	return codec[T]{
		parse: func(text string) (T, error) {
			if !slices.Contains(words, T(text)) {
				return "", mustBe(orList(words), text)
			}
			return T(text), nil
		},
		print: func(value T) string { return string(value) },
	}
}

// orList joins words: "a, b or c".
func orList[T ~string](words []T) string {
	var b strings.Builder
	for i, word := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(word))
	}
	return b.String()
}

// count reads a whole number from 1 to most, written in digits only.
func count(most int) codec[int] {
	return codec[int]{
		parse: func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil || !digits(text) || n < 1 || n > most {
				return 0, mustBe(fmt.Sprintf("a whole number from 1 to %d", most), text)
			}
			return n, nil
		},
		print: strconv.Itoa,
	}
}

func digits(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

// onOff reads true or false.
func onOff() codec[bool] {
	return codec[bool]{
		parse: func(text string) (bool, error) {
			if text != "true" && text != "false" {
				return false, mustBe("true or false", text)
			}
			return text == "true", nil
		},
		print: strconv.FormatBool,
	}
}

// share reads a number from 0 to 1, such as 0.8, without sign or exponent.
func share() codec[float64] {
	return codec[float64]{
		parse: func(text string) (float64, error) {
			whole, rest, _ := strings.Cut(text, ".")
			f, err := strconv.ParseFloat(text, 64)
			if err != nil || !digits(whole+rest) || f > 1 {
				return 0, mustBe("a number from 0 to 1, such as 0.8", text)
			}
			return f, nil
		},
		print: func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) },
	}
}

// duration reads a duration within bounds, as time.ParseDuration does, without a sign.
func duration(least, most time.Duration) codec[time.Duration] {
	return codec[time.Duration]{
		parse: func(text string) (time.Duration, error) {
			d, err := time.ParseDuration(text)
			if err != nil || d < least || d > most || strings.ContainsAny(text, "+-") {
				return 0, mustBe(fmt.Sprintf("a duration from %s to %s, such as 1.5s or 2m", printDuration(least), printDuration(most)), text)
			}
			return d, nil
		},
		print: printDuration,
	}
}

// printDuration returns Duration.String without trailing zero units: 2m rather than 2m0s.
func printDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseSpan reads MIN-MAX, or one duration for both ends.
func parseSpan(text string) (Span, error) {
	bounds := duration(0, time.Hour)
	from, to, two := strings.Cut(text, "-")
	if !two {
		to = from
	}
	least, err := bounds.parse(from)
	most, err2 := bounds.parse(to)
	if err != nil || err2 != nil || least > most {
		return Span{}, mustBe("a duration up to 1h or a range of two, such as 50ms-200ms, the smaller first", text)
	}
	return Span{least, most}, nil
}

func printSpan(s Span) string {
	if s.Min == s.Max {
		return printDuration(s.Min)
	}
	return printDuration(s.Min) + "-" + printDuration(s.Max)
}

// maxRate bounds N of a rate, which is the size of each client's token bucket.
const maxRate = 1_000_000

func parseRate(text string) (Rate, error) {
	if text == "off" {
		return Rate{}, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	tokens, err := count(maxRate).parse(number)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute}[unit]
	if err != nil || per == 0 {
		return Rate{}, mustBe(fmt.Sprintf("N/s or N/m with N from 1 to %d, or off", maxRate), text)
	}
	return Rate{tokens, per}, nil
}

func printRate(r Rate) string {
	switch {
	case r.Tokens == 0:
		return "off"
	case r.Per == time.Minute:
		return strconv.Itoa(r.Tokens) + "/m"
	default:
		return strconv.Itoa(r.Tokens) + "/s"
	}
}

// list reads from least to most values with commas between them, and ignores spaces around them. An empty list is nil.
func list[T any](item codec[T], least, most int) codec[[]T] {
	return codec[[]T]{
		parse: func(text string) ([]T, error) {
			if strings.TrimSpace(text) == "" && least == 0 {
				return nil, nil
			}
			parts := strings.SplitN(text, ",", most+1)
			if len(parts) > most {
				return nil, fmt.Errorf("must have at most %d entries", most)
			}
			values := make([]T, len(parts))
			for i, part := range parts {
				value, err := item.parse(strings.TrimSpace(part))
				if err != nil {
					return nil, fmt.Errorf("entry %d %w", i+1, err)
				}
				values[i] = value
			}
			return values, nil
		},
		print: func(values []T) string {
			parts := make([]string, len(values))
			for i, value := range values {
				parts[i] = item.print(value)
			}
			return strings.Join(parts, ",")
		},
	}
}

// logLevel reads one of slog's four named levels.
func logLevel() codec[slog.Level] {
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	spelled := func(level slog.Level) string { return strings.ToLower(level.String()) }
	return codec[slog.Level]{
		parse: func(text string) (slog.Level, error) {
			for _, level := range levels {
				if text == spelled(level) {
					return level, nil
				}
			}
			return math.MaxInt, mustBe("debug, info, warn or error", text)
		},
		print: spelled,
	}
}

// roles reads a list of roles, each at most once.
func roles() codec[Roles] {
	return codec[Roles]{
		parse: func(text string) (Roles, error) {
			var r Roles
			for name := range strings.SplitSeq(text, ",") {
				var role *bool
				switch strings.TrimSpace(name) {
				case "api":
					role = &r.API
				case "worker":
					role = &r.Worker
				case "realtime":
					role = &r.Realtime
				}
				if role == nil || *role {
					return Roles{}, mustBe("api, worker, realtime, or several of them with commas between them", text)
				}
				*role = true
			}
			return r, nil
		},
		print: Roles.String,
	}
}

// auth reads AuthOptional, AuthRequired or no value.
func auth() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			switch text {
			case "", AuthOptional, AuthRequired:
				return text, nil
			default:
				return "", mustBe(AuthOptional+" or "+AuthRequired, text)
			}
		},
		print: func(value string) string { return value },
	}
}
