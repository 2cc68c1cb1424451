package order

import "strings"

// User is a customer or administrator who can log in.
type User struct {
	ID           int64
	Name, Email  string
	PasswordHash string
}

// Limits of a log-in.
const (
	MaxEmail    = 255  // characters
	MaxPassword = 1024 // bytes
)

// FoldEmail returns the form in which e-mail addresses are compared: A to Z in lower case. Other letters keep their case, so
// that every database compares alike.
func FoldEmail(email string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, email)
}
