package store

import (
	"strings"

	"orderflow/internal/order"
)

// carry writes the effects of a decision in the order of locks: order rows, rows that refer to them, product rows last. With owed, the outbox keeps the events until the bus has them, and the receipt carries the
// transaction's id.
func (t *tx) carry(effects *order.Effects, owed bool) (order.EventBatch, error) {
	receipt := order.EventBatch{Events: effects.Events}
	if err := t.insertNew(effects); err != nil {
		return receipt, err
	}
	if err := t.changeOrders(effects.GroupChanges()); err != nil {
		return receipt, err
	}
	if err := t.insertPayments(effects.Payments); err != nil {
		return receipt, err
	}
	if err := t.insertEvents(effects.Events); err != nil {
		return receipt, err
	}
	if err := t.keepDeadLetters(effects); err != nil {
		return receipt, err
	}
	if err := t.insertMovements(effects.Movements); err != nil {
		return receipt, err
	}
	if err := t.moveStock(effects); err != nil {
		return receipt, err
	}
	if owed && len(effects.Events) > 0 {
		receipt.ID = t.id
		return receipt, t.owe(effects.Events)
	}
	return receipt, nil
}

// insertNew inserts the new orders and products, and completes the effects with their ids.
func (t *tx) insertNew(effects *order.Effects) error {
	if err := t.insertOrders(effects.New); err != nil {
		return err
	}
	for _, p := range effects.NewProducts {
		if err := t.insertProduct(p); err != nil {
			return err
		}
	}
	effects.SetIDs()
	return nil
}

// changeOrders writes one UPDATE for all orders that change alike, guarded by the status they are expected to have.
// Fewer rows than expected means that the rows were not as they were read: nothing of the transaction may stay. The plus
// before status keeps SQLite from going through all orders of that status by its index instead of by the ids.
func (t *tx) changeOrders(groups []order.ChangeGroup) error {
	d := t.s.dialect
	for _, g := range groups {
		err := chunks(d, g.OrderIDs, func(padded []int64, n int) error {
			args := append([]any{
				string(g.To), g.Claims, g.AttemptsLeft, g.Lease, d.time(g.DueAt), g.Events, d.time(g.CancelledAt), d.time(t.now), string(g.From),
			}, anys(padded)...)
			return t.post(n, "orders to change from "+string(g.From)+" to "+string(g.To),
				d.update()+d.table("orders")+" SET status = ?, attempts = attempts + ?, tries_left = tries_left + ?, lease_token = ?, "+
					"due_at = ?, version = version + ?, cancelled_at = COALESCE(?, cancelled_at), updated_at = ? "+
					"WHERE +status = ? AND id IN "+placeholders(len(padded)), args...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) insertPayments(payments []order.Payment) error {
	d := t.s.dialect
	return t.insert("payments (order_id, attempt, kind, outcome, reference, error, actor, created_at)", 8, len(payments),
		func(args []any, i int) []any {
			p := payments[i]
			return append(args, p.OrderID, p.Claim, string(p.Kind), string(p.Outcome), p.Reference, p.Error, p.Actor, d.time(p.At))
		}, d.ignoreDuplicate("order_id"))
}

func (t *tx) insertEvents(events []order.Event) error {
	d := t.s.dialect
	return t.insert("order_events (order_id, sequence, type, payload, actor, trace_id, traceparent, created_at)", 8, len(events),
		func(args []any, i int) []any {
			e := events[i]
			return append(args, e.OrderID, e.Seq, string(e.Type), string(e.AppendPayload(nil)), e.Actor, e.Trace.ID, e.Trace.Parent, d.time(e.At))
		}, "")
}

// keepDeadLetters opens failed jobs, then closes those that the same batch settled: rare, so row by row.
func (t *tx) keepDeadLetters(effects *order.Effects) error {
	for _, job := range effects.FailedJobs {
		if err := t.openJob(job); err != nil {
			return err
		}
	}
	for _, r := range effects.Resolved {
		err := t.post(-1, "", "UPDATE failed_jobs SET resolution = ?, resolved_at = COALESCE(resolved_at, ?) WHERE order_id = ?",
			r.How, t.s.dialect.time(t.now), r.OrderID)
		if err != nil {
			return err
		}
	}
	return nil
}

// openJob opens an order's failed job, or opens it again under the id that it has.
func (t *tx) openJob(job order.FailedJob) error {
	d := t.s.dialect
	result, err := t.exec("UPDATE failed_jobs SET attempts = ?, error = ?, failed_at = ?, resolved_at = NULL, resolution = '' WHERE order_id = ?",
		job.Attempts, job.Error, d.time(job.FailedAt), job.OrderID)
	if err != nil {
		return err
	}
	if known, err := result.RowsAffected(); err != nil || known > 0 {
		return err
	}
	return t.post(-1, "", "INSERT INTO failed_jobs (order_id, attempts, error, failed_at, resolution) VALUES (?, ?, ?, ?, '')",
		job.OrderID, job.Attempts, job.Error, d.time(job.FailedAt))
}

// moveStock writes one UPDATE for all products. That none falls below 0 was decided under the rows' locks; the CHECK of
// the table says it again.
func (t *tx) moveStock(effects *order.Effects) error {
	return chunks(t.s.dialect, effects.Products(), func(padded []int64, n int) error {
		args := make([]any, 0, 3*len(padded)+1)
		for _, id := range padded { // the first WHEN that fits counts, so padding changes nothing
			args = append(args, id, effects.Stock[id])
		}
		args = append(append(args, t.s.dialect.time(t.now)), anys(padded)...)
		return t.post(n, "products to move stock of", t.s.dialect.update()+t.s.dialect.table("products")+" SET stock = stock + CASE id"+
			strings.Repeat(" WHEN ? THEN ?", len(padded))+" END, updated_at = ? WHERE id IN "+placeholders(len(padded)), args...)
	})
}
