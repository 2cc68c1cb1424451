package store

import (
	"context"
	"fmt"

	"orderflow/internal/order"
)

// maxTokens is how many tokens a list has at most.
const maxTokens = 1000

const tokenColumns = "id, COALESCE(user_id, 0), name, admin, created_at, expires_at, revoked_at" //nolint:gosec // no credentials, their columns

func scanToken(scan func(...any) error) (order.Token, error) {
	var t order.Token
	err := scan(&t.ID, &t.UserID, &t.Name, &t.Admin, scanTime{&t.CreatedAt}, scanTime{&t.ExpiresAt}, scanTime{&t.RevokedAt})
	return t, err
}

// CreateToken keeps a token under its hash of 32 bytes and returns it with its id. It is created now by the clock that will
// judge when it is over, and its time to live, from the given CreatedAt to the given ExpiresAt, moves along. The error
// carries CodeNotFound when there is no such user.
func (s *Store) CreateToken(ctx context.Context, token order.Token, hash []byte) (order.Token, error) {
	var created order.Token
	err := s.write(ctx, "token", func(t *tx) error {
		if err := t.needClock(); err != nil {
			return err
		}
		created = token
		created.CreatedAt = t.now
		if !token.ExpiresAt.IsZero() && !token.CreatedAt.IsZero() {
			created.ExpiresAt = t.now.Add(token.ExpiresAt.Sub(token.CreatedAt))
		}
		d := s.dialect
		t.proof, t.proofArgs = "SELECT 1 FROM api_tokens WHERE token_hash = "+d.binaryMark(hash), d.withBinary(nil, hash)
		var user any
		if token.UserID > 0 {
			user = token.UserID
		}
		args := append(d.withBinary([]any{user}, hash), token.Name, token.Admin, d.time(created.CreatedAt), d.time(created.ExpiresAt))
		result, err := t.exec(d.insert()+"api_tokens (user_id, token_hash, name, admin, created_at, expires_at) VALUES (?,"+
			d.binaryMark(hash)+",?,?,?,?)", args...)
		if err != nil {
			return err
		}
		created.ID, err = result.LastInsertId()
		return err
	})
	if err != nil && s.dialect.classify(err) == classForeignKey {
		err = order.NotFound(fmt.Sprintf("User %d", token.UserID))
	}
	return created, err
}

// TokenByHash returns the token with this hash. The error carries CodeUnauthenticated when there is none, or when it was
// taken back or is over: by the database's clock, so that all nodes agree.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (order.Token, error) {
	var found []order.Token
	d := s.dialect
	now, args := d.clock(), d.withBinary(nil, hash)
	err := s.read(ctx, func(ctx context.Context) error {
		found = nil
		if d.clock() == "" {
			clock, err := s.clock(ctx)
			if err != nil {
				return err
			}
			now, args = "?", append(d.withBinary(nil, hash), d.time(clock))
		}
		return s.query(ctx, func(scan func(...any) error) error {
			t, err := scanToken(scan)
			found = append(found, t)
			return err
		}, "SELECT "+tokenColumns+" FROM api_tokens WHERE token_hash = "+d.binaryMark(hash)+
			" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > "+now+")", args...)
	})
	if err == nil && len(found) == 0 {
		err = order.Errorf(order.CodeUnauthenticated, "This token does not count: it is unknown, over or taken back.")
	}
	if err != nil {
		return order.Token{}, err
	}
	return found[0], nil
}

// RevokeToken takes a token back; doing so again changes nothing. The error carries CodeNotFound when there is none.
func (s *Store) RevokeToken(ctx context.Context, id int64) error {
	return s.write(ctx, "token", func(t *tx) error {
		if err := t.needClock(); err != nil {
			return err
		}
		result, err := t.exec(s.dialect.update()+"api_tokens SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?", s.dialect.time(t.now), id)
		if err != nil {
			return err
		}
		matched, err := result.RowsAffected()
		if err == nil && matched == 0 {
			err = order.NotFound(fmt.Sprintf("Token %d", id))
		}
		return err
	})
}

// Tokens returns the newest 1,000 tokens, those that do not count any more included.
func (s *Store) Tokens(ctx context.Context) (tokens []order.Token, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		tokens = nil
		return s.query(ctx, func(scan func(...any) error) error {
			t, err := scanToken(scan)
			tokens = append(tokens, t)
			return err
		}, "SELECT "+tokenColumns+" FROM "+s.dialect.table("api_tokens")+" ORDER BY id DESC LIMIT ?", maxTokens)
	})
	return tokens, err
}
