package lock

import (
	"crypto/rand"

	"github.com/google/uuid"
)

// mark opens every token of ours.
const mark = "orfl"

// NewToken returns a token that nobody has had: a UUID of version 8 (RFC 9562: layout of the maker's choice) that
// opens with a mark of four bytes, so that Ours knows it; the other 90 bits are random.
func NewToken() string {
	var id uuid.UUID
	rand.Read(id[:]) // never fails: without randomness the process ends
	copy(id[:], mark)
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id.String()
}

// Ours says whether NewToken may have made the token, in this process or another. A lock under a stranger's token was
// put there by software that may not know the database's locks, and must be respected.
func Ours(token string) bool {
	id, err := uuid.Parse(token)
	return err == nil && id.String() == token && string(id[:len(mark)]) == mark &&
		id.Version() == 8 && id.Variant() == uuid.RFC4122
}
