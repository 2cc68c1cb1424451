package lock

import (
	"crypto/rand"

	"github.com/google/uuid"
)

// mark is the beginning of every token of Orderflow.
const mark = "orfl"

// NewToken returns a unique token: a UUID of version 8 (RFC 9562: vendor-specific layout) that begins with a mark of four bytes, by
// which Ours recognises it. The other 90 bits are random.
func NewToken() string {
	var id uuid.UUID
	rand.Read(id[:]) // never fails: without randomness the process crashes
	copy(id[:], mark)
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id.String()
}

// Ours reports whether the token is one of NewToken, in this process or another. The lock of a foreign token must be respected:
// its software may not use the locks of the database.
func Ours(token string) bool {
	id, err := uuid.Parse(token)
	return err == nil && id.String() == token && string(id[:len(mark)]) == mark &&
		id.Version() == 8 && id.Variant() == uuid.RFC4122
}
