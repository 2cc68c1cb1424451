package store

import (
	"context"
	"fmt"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// maxTokens bounds a list of tokens.
const maxTokens = 1000

const tokenColumns = "id, COALESCE(user_id, 0), name, admin, created_at, expires_at, revoked_at" //nolint:gosec // no credentials, their columns

func scanToken(scan sqldb.Scan) (order.Token, error) {
	var t order.Token
	err := scan(&t.ID, &t.UserID, &t.Name, &t.Admin, sqldb.ScanTime(&t.CreatedAt), sqldb.ScanTime(&t.ExpiresAt), sqldb.ScanTime(&t.RevokedAt))
	return t, err
}

// CreateToken stores a token under its hash of 32 bytes and returns it with its id. CreatedAt becomes the time of the clock that
// decides when the token expires, and ExpiresAt moves with it. It returns CodeNotFound when there is no such user.
func (s *Store) CreateToken(ctx context.Context, token order.Token, hash []byte) (order.Token, error) {
	var created order.Token
	err := s.write(ctx, "token", func(t *tx) error {
		if err := t.NeedClock(); err != nil {
			return err
		}
		created = token
		created.CreatedAt = t.Now
		if !token.ExpiresAt.IsZero() && !token.CreatedAt.IsZero() {
			created.ExpiresAt = t.Now.Add(token.ExpiresAt.Sub(token.CreatedAt))
		}
		d := s.dialect
		t.SetCommitMarker("SELECT 1 FROM api_tokens WHERE token_hash = "+d.BinaryMark(hash), d.WithBinary(nil, hash)...)
		var user any
		if token.UserID > 0 {
			user = token.UserID
		}
		args := append(d.WithBinary([]any{user}, hash), token.Name, token.Admin, d.Time(created.CreatedAt), d.Time(created.ExpiresAt))
		var err error
		created.ID, err = t.InsertOne(d.Insert()+"api_tokens (user_id, token_hash, name, admin, created_at, expires_at) VALUES (?,"+
			d.BinaryMark(hash)+",?,?,?,?)", args...)
		return err
	})
	if err != nil && s.db.Classify(err) == sqldb.ForeignKey {
		err = order.NotFound(fmt.Sprintf("User %d", token.UserID))
	}
	return created, err
}

// TokenByHash returns the token with this hash. It returns CodeUnauthenticated when the token is unknown, revoked or expired, by
// the database's clock, so that all nodes agree.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (order.Token, error) {
	var found []order.Token
	d := s.dialect
	now, args := d.Clock(), d.WithBinary(nil, hash)
	err := s.read(ctx, func(ctx context.Context) error {
		found = nil
		if d.Clock() == "" {
			clock, err := s.db.Clock(ctx)
			if err != nil {
				return err
			}
			now, args = "?", append(d.WithBinary(nil, hash), d.Time(clock))
		}
		return s.query(ctx, func(scan sqldb.Scan) error {
			t, err := scanToken(scan)
			found = append(found, t)
			return err
		}, "SELECT "+tokenColumns+" FROM api_tokens WHERE token_hash = "+d.BinaryMark(hash)+
			" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > "+now+")", args...)
	})
	if err == nil && len(found) == 0 {
		err = order.Errorf(order.CodeUnauthenticated, "Invalid token: unknown, expired or revoked. Log in again.")
	}
	if err != nil {
		return order.Token{}, err
	}
	return found[0], nil
}

// RevokeToken revokes a token; to revoke it again changes nothing. It returns CodeNotFound when there is no such token.
func (s *Store) RevokeToken(ctx context.Context, id int64) error {
	return s.write(ctx, "token", func(t *tx) error {
		if err := t.NeedClock(); err != nil {
			return err
		}
		result, err := t.Exec(s.dialect.Update()+"api_tokens SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?", s.dialect.Time(t.Now), id)
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

// Tokens returns the newest 1,000 tokens, including invalid ones.
func (s *Store) Tokens(ctx context.Context) (tokens []order.Token, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		tokens = nil
		return s.query(ctx, func(scan sqldb.Scan) error {
			t, err := scanToken(scan)
			tokens = append(tokens, t)
			return err
		}, "SELECT "+tokenColumns+" FROM "+s.dialect.ByPrimaryKey("api_tokens")+" ORDER BY id DESC LIMIT ?", maxTokens)
	})
	return tokens, err
}
