package store_test

import (
	"testing"

	"orderflow/internal/order"
)

// The answer to the COMMIT of a new token is lost, but the COMMIT was executed: the caller gets the token, and not an error about a
// duplicate hash.
func TestTokenOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, done := range map[string]bool{"it was committed": true, "it was not": false} {
		t.Run(name, func(t *testing.T) {
			s, _ := sample(t, 1)
			hash := []byte("0123456789abcdef0123456789abcdef")
			s.FailCommit(done, errLost)
			made, err := s.CreateToken(t.Context(), order.Token{UserID: 1}, hash)
			if done != (err == nil) {
				t.Fatalf("made %+v, %v", made, err)
			}
			found, err := s.TokenByHash(t.Context(), hash)
			if done && (err != nil || found.ID != made.ID) {
				t.Errorf("made %+v, found %+v, %v", made, found, err)
			}
			if !done && order.CodeOf(err) != order.CodeUnauthenticated {
				t.Errorf("found %+v, %v", found, err)
			}
		})
	}
}
