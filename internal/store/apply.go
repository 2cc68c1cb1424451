package store

import (
	"orderflow/internal/order"
	"orderflow/internal/sqldb"
)

// apply writes the effects of a decision in the order of locks: order rows, rows that refer to them, product rows last. With
// publish, the outbox keeps the events until the bus has them, and the batch has the transaction's id.
func (t *tx) apply(effects *order.Effects, publish bool) (order.EventBatch, error) {
	batch := order.EventBatch{Events: effects.Events}
	if err := t.insertNew(effects); err != nil {
		return batch, err
	}
	if err := t.changeOrders(effects.GroupChanges()); err != nil {
		return batch, err
	}
	if err := t.insertPayments(effects.Payments); err != nil {
		return batch, err
	}
	if err := t.insertEvents(effects.Events); err != nil {
		return batch, err
	}
	if err := t.writeFailedJobs(effects); err != nil {
		return batch, err
	}
	if err := t.insertMovements(effects.Movements); err != nil {
		return batch, err
	}
	if err := t.moveStock(effects); err != nil {
		return batch, err
	}
	if publish && len(effects.Events) > 0 {
		batch.ID = t.ID
		return batch, t.insertOutbox(effects.Events)
	}
	return batch, nil
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

// changeOrders writes one UPDATE for all orders that change alike, guarded by the status that they were read with. Fewer rows
// than expected mean that rows have changed since: nothing of the transaction may stay. NoIndex keeps SQLite from scanning
// all orders of that status by its index instead of using the ids.
func (t *tx) changeOrders(groups []order.ChangeGroup) error {
	d := t.s.dialect
	for _, g := range groups {
		err := sqldb.Chunks(d, g.OrderIDs, func(padded []int64, n int) error {
			args := append([]any{
				string(g.To), g.Claims, g.AttemptsLeft, g.Lease, d.Time(g.DueAt), g.Events, d.Time(g.CancelledAt), d.Time(t.Now), string(g.From),
			}, sqldb.Anys(padded)...)
			return t.Enqueue(n, "orders to change from "+string(g.From)+" to "+string(g.To),
				d.Update()+d.ByPrimaryKey("orders")+" SET status = ?, claims = claims + ?, attempts_left = attempts_left + ?, lease_token = ?, "+
					"due_at = ?, version = version + ?, cancelled_at = COALESCE(?, cancelled_at), updated_at = ? "+
					"WHERE "+d.NoIndex("status")+" = ? AND id IN "+sqldb.Placeholders(len(padded)), args...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) insertPayments(payments []order.Payment) error {
	d := t.s.dialect
	return t.Insert("payments (order_id, claim, kind, outcome, reference, error, actor, created_at)", 8, len(payments),
		func(args []any, i int) []any {
			p := payments[i]
			return append(args, p.OrderID, p.Claim, string(p.Kind), string(p.Outcome), p.Reference, p.Error, p.Actor, d.Time(p.At))
		}, d.IgnoreDuplicate("order_id"))
}

func (t *tx) insertEvents(events []order.Event) error {
	d := t.s.dialect
	return t.Insert("order_events (order_id, sequence, type, payload, actor, trace_id, traceparent, created_at)", 8, len(events),
		func(args []any, i int) []any {
			e := events[i]
			return append(args, e.OrderID, e.Seq, string(e.Type), string(e.AppendPayload(nil)), e.Actor, e.Trace.ID, e.Trace.Parent, d.Time(e.At))
		}, "")
}
