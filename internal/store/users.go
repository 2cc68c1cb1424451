package store

import (
	"context"

	"orderflow/internal/order"
)

// UserByEmail returns the user with this e-mail address, whatever its case (see order.FoldEmail). The error carries
// CodeNotFound when there is none.
func (s *Store) UserByEmail(ctx context.Context, email string) (order.User, error) {
	var found []order.User
	err := s.read(ctx, func(ctx context.Context) error {
		found = nil
		return s.query(ctx, func(scan func(...any) error) error {
			var u order.User
			err := scan(&u.ID, &u.Name, &u.Email, &u.PasswordHash)
			// MySQL also takes an accent, or blanks at the end, for no difference.
			if order.FoldEmail(u.Email) == order.FoldEmail(email) {
				found = append(found, u)
			}
			return err
		}, "SELECT id, name, email, password_hash FROM users WHERE email = ?", email)
	})
	if err == nil && len(found) == 0 {
		err = order.NotFound("A user with this e-mail address")
	}
	if err != nil {
		return order.User{}, err
	}
	return found[0], nil
}
