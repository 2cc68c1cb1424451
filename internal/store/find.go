package store

import (
	"context"

	"orderflow/internal/order"
)

// keyReach is how many orders back OrdersByKey looks for a key of an unknown user: no index leads from a key alone to its orders.
const keyReach = 100_000

// OrdersByKey returns up to limit orders under an idempotency key, newest first, with their items: of one user, which is one at
// most, or with user 0 of all, among the newest 100,000 orders. It reads the primary: on a replica that lags, an order that was
// confirmed a moment ago would seem not to exist, and an operator might tell its buyer to order again.
func (s *Store) OrdersByKey(ctx context.Context, user int64, key string, limit int) (orders []*order.Order, err error) {
	err = s.read(ctx, func(ctx context.Context) (err error) {
		if user > 0 {
			orders, err = s.readOrders(ctx, s.query, "SELECT "+orderColumns+" FROM orders o WHERE user_id = ? AND idempotency_key = ?", user, key)
			return err
		}
		var oldest int64 // ids may have gaps, huge ones after a restore
		err = s.query(ctx, func(scan func(...any) error) error { return scan(&oldest) },
			"SELECT COALESCE(min(id), 0) FROM (SELECT id FROM orders ORDER BY id DESC LIMIT ?) newest", keyReach)
		if err != nil {
			return err
		}
		orders, err = s.readOrders(ctx, s.query,
			"SELECT "+orderColumns+" FROM orders o WHERE id >= ? AND idempotency_key = ? ORDER BY id DESC LIMIT ?", oldest, key, limit)
		return err
	})
	return orders, err
}

// Payments returns what was asked of the gateway for an order, in order of the attempts. There are none for one that does not
// exist.
func (s *Store) Payments(ctx context.Context, orderID int64) (payments []order.Payment, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		payments = nil
		return s.query(ctx, func(scan func(...any) error) error {
			p := order.Payment{OrderID: orderID}
			err := scan(&p.Claim, &p.Kind, &p.Outcome, &p.Reference, &p.Error, &p.Actor, scanTime{&p.At})
			payments = append(payments, p)
			return err
		}, "SELECT attempt, kind, outcome, reference, error, actor, created_at FROM payments WHERE order_id = ? ORDER BY attempt, created_at",
			orderID)
	})
	return payments, err
}

// FailedJobOrders is JobPage with what the orders are that the letters are about.
func (s *Store) FailedJobOrders(ctx context.Context, page, perPage int) (found order.FailedJobOrderPage, err error) {
	jobs, err := s.FailedJobPage(ctx, page, perPage)
	if err != nil {
		return order.FailedJobOrderPage{}, err
	}
	found = order.FailedJobOrderPage{Jobs: make([]order.FailedJobOrder, len(jobs.Jobs)), Total: jobs.Total}
	at := make(map[int64]*order.FailedJobOrder, len(jobs.Jobs))
	ids := make([]int64, len(jobs.Jobs))
	for i, j := range jobs.Jobs {
		found.Jobs[i].FailedJob = j
		at[j.OrderID], ids[i] = &found.Jobs[i], j.OrderID
	}
	err = s.read(ctx, func(ctx context.Context) error {
		return chunks(s.dialect, ids, func(padded []int64, _ int) error {
			return s.query(ctx, func(scan func(...any) error) error {
				var id int64
				var about order.FailedJobOrder
				err := scan(&id, &about.UserID, &about.Status, scanMoney{&about.Total}, &about.Currency)
				if letter := at[id]; letter != nil {
					about.FailedJob = letter.FailedJob
					*letter = about
				}
				return err
			}, "SELECT id, user_id, status, total_amount, currency FROM orders WHERE id IN "+placeholders(len(padded)), anys(padded)...)
		})
	})
	return found, err
}
