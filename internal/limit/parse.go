package limit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseRate reads a rate as settings spell it: "10/s", "60/m" (N from 1 to MaxTokens, plain digits), or "off", which is
// the zero Rate.
func ParseRate(text string) (Rate, error) {
	if text == "off" {
		return Rate{}, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute}[unit]
	tokens, err := strconv.Atoi(number)
	if err != nil || per == 0 || strconv.Itoa(tokens) != number || tokens < 1 || tokens > MaxTokens {
		return Rate{}, fmt.Errorf("rate %q: want N/s, N/m or off, with N from 1 to %d", text, MaxTokens)
	}
	return Rate{Tokens: tokens, Per: per}, nil
}

// String spells the rate as ParseRate reads it; a period that settings cannot name comes as a duration: "5/15m0s".
func (r Rate) String() string {
	switch {
	case r.Off():
		return "off"
	case r.Per == time.Second:
		return strconv.Itoa(r.Tokens) + "/s"
	case r.Per == time.Minute:
		return strconv.Itoa(r.Tokens) + "/m"
	default:
		return strconv.Itoa(r.Tokens) + "/" + r.Per.String()
	}
}
