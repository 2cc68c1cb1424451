package store

import (
	"context"
	"strings"
	"unicode/utf8"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// UserByEmail returns the user with this e-mail address, whatever its case (see order.FoldEmail). The error carries
// CodeNotFound when there is none.
func (s *Store) UserByEmail(ctx context.Context, email string) (order.User, error) {
	if !utf8.ValidString(email) || strings.ContainsRune(email, 0) { // no address is like that, and PostgreSQL refuses such a text
		return order.User{}, order.NotFound("A user with this e-mail address")
	}
	var found []order.User
	err := s.read(ctx, func(ctx context.Context) error {
		found = nil
		return s.query(ctx, func(scan sqldb.Scan) error {
			var u order.User
			err := scan(&u.ID, &u.Name, &u.Email, &u.PasswordHash)
			// MySQL also ignores accents, and blanks at the end.
			if order.FoldEmail(u.Email) == order.FoldEmail(email) {
				found = append(found, u)
			}
			return err
		}, "SELECT id, name, email, password_hash FROM users WHERE "+s.dialect.EqualEmail("email"), email)
	})
	if err == nil && len(found) == 0 {
		err = order.NotFound("A user with this e-mail address")
	}
	if err != nil {
		return order.User{}, err
	}
	return found[0], nil
}

// Existing returns which of these users and products exist.
func (s *Store) Existing(ctx context.Context, users, products []int64) (existingUsers, existingProducts map[int64]bool, err error) {
	if existingUsers, err = s.existingIDs(ctx, "SELECT id FROM users WHERE id IN ", users); err != nil {
		return nil, nil, err
	}
	existingProducts, err = s.existingIDs(ctx, "SELECT id FROM products WHERE id IN ", products)
	return existingUsers, existingProducts, err
}

// existingIDs returns those of ids that a query finds. The query is given before the list.
func (s *Store) existingIDs(ctx context.Context, query string, ids []int64) (map[int64]bool, error) {
	existing := map[int64]bool{}
	err := s.read(ctx, func(ctx context.Context) error {
		return sqldb.Chunks(s.dialect, ascending(ids), func(padded []int64, _ int) error {
			return s.query(ctx, addID(existing), query+sqldb.Placeholders(len(padded)), sqldb.Anys(padded)...)
		})
	})
	return existing, err
}
