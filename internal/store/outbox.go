package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// Bounds of the outbox.
const (
	refsMax   = 1_000_000       // events of one transaction, many times what a batch has
	paidMax   = 10_000          // receipts remembered as paid; more than that are published again, which is harmless
	payAtOnce = 512             // marks written with one transaction
	payAfter  = 1 * time.Second // marks are written by themselves when no transaction comes
)

// owe keeps what the transaction owes the bus.
func (t *tx) owe(events []order.Event) error {
	d := t.s.dialect
	t.proof, t.proofArgs = "SELECT 1 FROM outbox WHERE id = ?", []any{t.id}
	return t.post(-1, "", "INSERT INTO outbox (id, events, created_at, leased_until) VALUES (?, ?, ?, ?)",
		t.id, encodeRefs(events), d.time(t.now), d.time(t.now))
}

// encodeRefs names events as "order:sequence", with runs of consecutive orders as "first-last:sequence", separated by
// spaces: "101-164:1 7:3".
func encodeRefs(events []order.Event) string {
	var b []byte
	for i := 0; i < len(events); {
		first := events[i]
		last := first.OrderID
		for i++; i < len(events) && events[i].OrderID == last+1 && events[i].Seq == first.Seq; i++ {
			last++
		}
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, first.OrderID, 10)
		if last > first.OrderID {
			b = strconv.AppendInt(append(b, '-'), last, 10)
		}
		b = strconv.AppendInt(append(b, ':'), int64(first.Seq), 10)
	}
	return string(b)
}

type eventRef struct {
	order int64
	seq   int
}

// decodeRefs reads what encodeRefs wrote.
func decodeRefs(text string) ([]eventRef, error) {
	var refs []eventRef
	for part := range strings.FieldsSeq(text) {
		span, seqText, ok := strings.Cut(part, ":")
		firstText, lastText, isRun := strings.Cut(span, "-")
		if !isRun {
			lastText = firstText
		}
		first, err1 := strconv.ParseInt(firstText, 10, 64)
		last, err2 := strconv.ParseInt(lastText, 10, 64)
		seq, err3 := strconv.Atoi(seqText)
		if !ok || err1 != nil || err2 != nil || err3 != nil || first < 1 || last < first || last > order.MaxID || last-first > 1_000_000 {
			return nil, fmt.Errorf("outbox entry %q is not a list of events", part)
		}
		for id := first; id <= last; id++ {
			refs = append(refs, eventRef{id, seq})
		}
	}
	return refs, nil
}

// MarkPublished remembers that the bus has what these receipts owed; the next write transaction marks them.
func (s *Store) MarkPublished(ids []string) {
	s.paidLock.Lock()
	defer s.paidLock.Unlock()
	if room := paidMax - len(s.paid); len(ids) > room {
		ids = ids[:max(0, room)]
	}
	s.paid = append(s.paid, ids...)
}

// payOff marks what MarkPaid remembered, up to a bound, and returns it, to be forgotten after the commit.
func (t *tx) payOff() ([]string, error) {
	t.s.paidLock.Lock()
	ids := append([]string(nil), t.s.paid[:min(len(t.s.paid), payAtOnce)]...)
	t.s.paidLock.Unlock()
	if len(ids) == 0 {
		return nil, nil
	}
	if err := t.needClock(); err != nil {
		return nil, err
	}
	d := t.s.dialect
	written := ids
	if t.skips {
		var err error
		if written, err = t.lockMarks(ids); err != nil {
			return nil, err
		}
	}
	return ids, chunks(d, written, func(padded []string, _ int) error {
		args := append([]any{d.time(t.now)}, anys(padded)...)
		return t.post(-1, "", "UPDATE "+d.table("outbox")+" SET paid_at = ? WHERE id IN "+placeholders(len(padded)), args...)
	})
}

// lockMarks locks those of the outbox rows that no other transaction has locked, and returns them. The marks of the others
// are lost, so that no further write waits for their rows: the relay publishes those events again.
func (t *tx) lockMarks(ids []string) (free []string, err error) {
	d := t.s.dialect
	err = chunks(d, ids, func(padded []string, _ int) error {
		return t.query(func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			free = append(free, id)
			return err
		}, "SELECT id FROM "+d.table("outbox")+" WHERE id IN "+placeholders(len(padded))+d.lockRows()+d.skipLocked(), anys(padded)...)
	})
	return free, err
}

// forgetPaid takes marks that are written from what is remembered. With several writers, two may have written the same
// ones, so they are taken by name.
func (s *Store) forgetPaid(written []string) {
	if len(written) == 0 {
		return
	}
	done := make(map[string]struct{}, len(written))
	for _, id := range written {
		done[id] = struct{}{}
	}
	s.paidLock.Lock()
	defer s.paidLock.Unlock()
	kept := s.paid[:0]
	for _, id := range s.paid {
		if _, gone := done[id]; !gone {
			kept = append(kept, id)
		}
	}
	s.paid = kept
}

// FlushPublished writes what MarkPaid remembered, by itself.
func (s *Store) FlushPublished(ctx context.Context) error {
	for {
		s.paidLock.Lock()
		left := len(s.paid)
		s.paidLock.Unlock()
		if left == 0 {
			return nil
		}
		if err := s.write(ctx, "pay off", func(*tx) error { return nil }); err != nil {
			return err
		}
	}
}

// Run writes paid-off marks when no other write has done so for a second, and keeps the connections for writes open, until
// ctx ends; then it writes what is left.
// A failure is no loss: what stays unmarked is published again.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(payAfter)
	defer tick.Stop()
	waiting := "" // the first mark that waited at the last tick
	for {
		select {
		case <-ctx.Done():
			return s.FlushPublished(context.WithoutCancel(ctx))
		case <-tick.C:
		}
		s.keepAlive(ctx)
		s.paidLock.Lock()
		first := ""
		if len(s.paid) > 0 {
			first = s.paid[0]
		}
		s.paidLock.Unlock()
		if first != "" && first == waiting {
			_ = s.FlushPublished(ctx) // tried again at the next tick, and published again at worst
		}
		waiting = first
	}
}

// LeaseOutbox finds up to limit receipts that are owed for longer than age and that nobody has leased, leases them for
// the given time, and returns them with their events, oldest first. A row that cannot be read is told in the error and
// holds the others up no longer than its lease.
func (s *Store) LeaseOutbox(ctx context.Context, age, lease time.Duration, limit int) ([]order.EventBatch, error) {
	owed, err := s.owedBefore(ctx, age, limit)
	if err != nil || len(owed) == 0 {
		return nil, err
	}
	var mine []outboxRow
	err = s.write(ctx, "relay", func(t *tx) (err error) {
		mine, err = t.leaseRows(owed, lease)
		return err
	})
	if err != nil {
		return nil, err
	}
	receipts := make([]order.EventBatch, 0, len(mine))
	var faults []error
	for _, row := range mine {
		events, err := s.eventsOf(ctx, row.events)
		if err != nil {
			faults = append(faults, fmt.Errorf("read back receipt %s: %w", row.id, err))
			continue
		}
		receipts = append(receipts, order.EventBatch{ID: row.id, Events: events})
	}
	return receipts, errors.Join(faults...)
}

type outboxRow struct{ id, events string }

// leaseRows leases those of the rows that nobody has paid or leased meanwhile, and returns them in their order. A row that
// another transaction has locked is left out, so that it keeps no relay from the others.
func (t *tx) leaseRows(owed []outboxRow, lease time.Duration) (mine []outboxRow, err error) {
	if err := t.needClock(); err != nil {
		return nil, err
	}
	d := t.s.dialect
	ids := make([]string, len(owed))
	for i, row := range owed {
		ids[i] = row.id
	}
	slices.Sort(ids) // in one order, so that two relays do not wait for each other
	free := map[string]bool{}
	err = chunks(d, ids, func(padded []string, _ int) error {
		return t.query(func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			free[id] = true
			return err
		}, "SELECT id FROM "+d.table("outbox")+" WHERE id IN "+placeholders(len(padded))+" AND paid_at IS NULL AND leased_until <= ? ORDER BY id"+
			d.lockRows()+d.skipLocked(), append(anys(padded), d.time(t.now))...)
	})
	if err != nil {
		return nil, err
	}
	for _, row := range owed {
		if free[row.id] {
			mine = append(mine, row)
		}
	}
	return mine, chunks(d, slices.Sorted(maps.Keys(free)), func(padded []string, n int) error {
		return t.post(n, "receipts to lease", "UPDATE "+d.table("outbox")+" SET leased_until = ? WHERE id IN "+placeholders(len(padded)),
			append([]any{d.time(t.now.Add(lease))}, anys(padded)...)...)
	})
}

func (s *Store) owedBefore(ctx context.Context, age time.Duration, limit int) (owed []outboxRow, err error) {
	d := s.dialect
	err = s.read(ctx, func(ctx context.Context) error {
		owed = nil
		now, err := s.clock(ctx)
		if err != nil {
			return err
		}
		return s.query(ctx, func(scan func(...any) error) error {
			var row outboxRow
			err := scan(&row.id, &row.events)
			owed = append(owed, row)
			return err
		}, "SELECT id, events FROM outbox WHERE paid_at IS NULL AND created_at <= ? AND leased_until <= ? "+
			"ORDER BY created_at LIMIT ?", d.time(now.Add(-age)), d.time(now), limit)
	})
	return owed, err
}

// eventsOf reads the events that an outbox row names.
func (s *Store) eventsOf(ctx context.Context, text string) ([]order.Event, error) {
	refs, err := decodeRefs(text)
	if err != nil {
		return nil, err
	}
	wanted := make(map[eventRef]bool, len(refs))
	ids := make([]int64, len(refs))
	for i, r := range refs {
		wanted[r] = true
		ids[i] = r.order
	}
	var events []order.Event
	err = s.read(ctx, func(ctx context.Context) error {
		events = nil
		return chunks(s.dialect, ascending(ids), func(padded []int64, _ int) error {
			return s.query(ctx, func(scan func(...any) error) error {
				e, err := scanEvent(scan)
				if wanted[eventRef{e.OrderID, e.Seq}] {
					events = append(events, e)
				}
				return err
			}, "SELECT "+eventColumns+" FROM order_events WHERE order_id IN "+placeholders(len(padded))+
				" ORDER BY order_id, sequence", anys(padded)...)
		})
	})
	return events, err
}

// PurgeOutbox deletes up to limit rows that were paid longer ago than age, and returns how many.
func (s *Store) PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error) {
	d := s.dialect
	var ids []string
	err := s.read(ctx, func(ctx context.Context) error {
		ids = nil
		now, err := s.clock(ctx)
		if err != nil {
			return err
		}
		return s.query(ctx, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, "SELECT id FROM outbox WHERE paid_at <= ? LIMIT ?", d.time(now.Add(-age)), limit)
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return len(ids), s.write(ctx, "purge", func(t *tx) error {
		return chunks(d, ids, func(padded []string, _ int) error {
			return t.post(-1, "", d.deleteFrom("outbox")+" WHERE id IN "+placeholders(len(padded)), anys(padded)...)
		})
	})
}

// RecordRefusal records that a full bus refused events at this moment.
func (s *Store) RecordRefusal(ctx context.Context) error {
	return s.write(ctx, "refusal", func(t *tx) error {
		if err := t.needClock(); err != nil {
			return err
		}
		now := s.dialect.time(t.now)
		result, err := t.exec(s.dialect.update()+"outbox_refusals SET refused_at = ? WHERE id = 1", now)
		if err != nil {
			return err
		}
		if matched, err := result.RowsAffected(); err != nil || matched > 0 {
			return err
		}
		_, err = t.exec("INSERT INTO outbox_refusals (id, refused_at) VALUES (1, ?)"+s.dialect.ignoreDuplicate("id"), now)
		return err
	})
}
