package pusher

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// NewSocketID returns the socket id of a new connection: two random numbers with a dot between them.
func NewSocketID() string {
	return strconv.FormatUint(uint64(rand.Uint32()), 10) + "." + strconv.FormatUint(uint64(rand.Uint32()), 10)
}

// ValidSocketID reports whether text has the form of a socket id. Other texts are not signed: one with a colon could make a
// signature valid for another channel.
func ValidSocketID(text string) bool {
	first, second, found := strings.Cut(text, ".")
	return found && number(first) && number(second)
}

func number(text string) bool {
	return text != "" && len(text) <= 20 && strings.Trim(text, "0123456789") == ""
}
