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
	"orderflow/internal/sqldb"
)

// Bounds of the outbox.
const (
	refsMax      = 1_000_000   // events of one transaction, many times what a batch has
	publishedMax = 10_000      // marks that wait to be written; events beyond that are published again, which is harmless
	marksAtOnce  = 512         // marks written with one transaction
	markAfter    = time.Second // marks are written by themselves when no other transaction does it
)

// insertOutbox keeps the transaction's events until the bus has them. The row is its commit marker.
func (t *tx) insertOutbox(events []order.Event) error {
	d := t.s.dialect
	t.SetCommitMarker("SELECT 1 FROM outbox WHERE id = ?", t.ID)
	return t.Enqueue(sqldb.AnyRows, "", "INSERT INTO outbox (id, events, created_at, leased_until) VALUES (?, ?, ?, ?)",
		t.ID, encodeRefs(events), d.Time(t.Now), d.Time(t.Now))
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
		if !ok || err1 != nil || err2 != nil || err3 != nil || first < 1 || last < first || last > order.MaxID || last-first > refsMax {
			return nil, fmt.Errorf("outbox entry %q is not a list of events", part)
		}
		for id := first; id <= last; id++ {
			refs = append(refs, eventRef{id, seq})
		}
	}
	return refs, nil
}

// MarkPublished notes that the bus has the events of these batches. The next write transaction marks their outbox rows.
func (s *Store) MarkPublished(ids []string) {
	s.publishedLock.Lock()
	defer s.publishedLock.Unlock()
	if free := publishedMax - len(s.published); len(ids) > free {
		ids = ids[:max(0, free)]
	}
	s.published = append(s.published, ids...)
}

// markPublished marks what MarkPublished has noted, up to a bound. It returns the ids, which are forgotten after the commit.
func (t *tx) markPublished() ([]string, error) {
	t.s.publishedLock.Lock()
	ids := append([]string(nil), t.s.published[:min(len(t.s.published), marksAtOnce)]...)
	t.s.publishedLock.Unlock()
	if len(ids) == 0 {
		return nil, nil
	}
	if err := t.NeedClock(); err != nil {
		return nil, err
	}
	d := t.s.dialect
	written := ids
	if t.Skips() {
		var err error
		if written, err = t.lockMarks(ids); err != nil {
			return nil, err
		}
	}
	return ids, sqldb.Chunks(d, written, func(padded []string, _ int) error {
		update := "UPDATE " + d.ByPrimaryKey("outbox") + " SET published_at = ? WHERE id IN " + sqldb.Placeholders(len(padded))
		return t.Enqueue(sqldb.AnyRows, "", update, append([]any{d.Time(t.Now)}, sqldb.Anys(padded)...)...)
	})
}

// lockMarks locks those of the outbox rows that no other transaction has locked, and returns them. The marks of the others are
// given up, so that no further write waits for their rows: the relay publishes those events again.
func (t *tx) lockMarks(ids []string) (free []string, err error) {
	d := t.s.dialect
	err = sqldb.Chunks(d, ids, func(padded []string, _ int) error {
		query := "SELECT id FROM " + d.ByPrimaryKey("outbox") + " WHERE id IN " + sqldb.Placeholders(len(padded)) + d.LockRows() + d.SkipLocked()
		return t.Query(func(scan sqldb.Scan) error {
			var id string
			err := scan(&id)
			free = append(free, id)
			return err
		}, query, sqldb.Anys(padded)...)
	})
	return free, err
}

// forgetPublished removes marks that are written. With several writers, two may have written the same ones, so they are removed by
// id.
func (s *Store) forgetPublished(written []string) {
	if len(written) == 0 {
		return
	}
	done := make(map[string]struct{}, len(written))
	for _, id := range written {
		done[id] = struct{}{}
	}
	s.publishedLock.Lock()
	defer s.publishedLock.Unlock()
	kept := s.published[:0]
	for _, id := range s.published {
		if _, written := done[id]; !written {
			kept = append(kept, id)
		}
	}
	s.published = kept
}

// firstPublished returns the mark that has waited for longest; "" when none waits.
func (s *Store) firstPublished() string {
	s.publishedLock.Lock()
	defer s.publishedLock.Unlock()
	if len(s.published) == 0 {
		return ""
	}
	return s.published[0]
}

// FlushPublished writes what MarkPublished has noted, in transactions of its own.
func (s *Store) FlushPublished(ctx context.Context) error {
	for s.remembered() > 0 {
		if err := s.write(ctx, "mark published", func(*tx) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// remembered is how many marks wait to be written.
func (s *Store) remembered() int {
	s.publishedLock.Lock()
	defer s.publishedLock.Unlock()
	return len(s.published)
}

// Run writes marks of published events when no other write has done so for a second, and keeps the connections for writes open,
// until ctx ends; then it writes the remaining marks. A failure loses nothing: events without a mark are published again.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(markAfter)
	defer tick.Stop()
	waiting := "" // the first mark that waited at the last tick
	for {
		select {
		case <-ctx.Done():
			return s.FlushPublished(context.WithoutCancel(ctx))
		case <-tick.C:
		}
		s.db.KeepAlive(ctx)
		first := s.firstPublished()
		if first != "" && first == waiting {
			_ = s.FlushPublished(ctx) // tried again at the next tick
		}
		waiting = first
	}
}

// LeaseOutbox finds up to limit outbox rows that are unpublished for longer than age and not leased, leases them for the given
// time, and returns them with their events, oldest first. The error names rows that cannot be read; they delay the others no
// longer than their lease.
func (s *Store) LeaseOutbox(ctx context.Context, age, lease time.Duration, limit int) ([]order.EventBatch, error) {
	waiting, err := s.unpublishedBefore(ctx, age, limit)
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	var leased []outboxRow
	err = s.write(ctx, "relay", func(t *tx) (err error) {
		leased, err = t.leaseRows(waiting, lease)
		return err
	})
	if err != nil {
		return nil, err
	}
	batches := make([]order.EventBatch, 0, len(leased))
	var unreadable []error
	for _, row := range leased {
		events, err := s.eventsOf(ctx, row.events)
		if err != nil {
			unreadable = append(unreadable, fmt.Errorf("read the events of outbox row %s: %w", row.id, err))
			continue
		}
		batches = append(batches, order.EventBatch{ID: row.id, Events: events})
	}
	return batches, errors.Join(unreadable...)
}

type outboxRow struct{ id, events string }

// leaseRows leases those of the rows that are still unpublished and not leased, and returns them in their order. A row that another
// transaction has locked is left out, so that it does not keep the relay from the others.
func (t *tx) leaseRows(waiting []outboxRow, lease time.Duration) (leased []outboxRow, err error) {
	if err := t.NeedClock(); err != nil {
		return nil, err
	}
	d := t.s.dialect
	ids := make([]string, len(waiting))
	for i, row := range waiting {
		ids[i] = row.id
	}
	slices.Sort(ids) // in one order, so that two relays do not wait for each other
	free := map[string]bool{}
	err = sqldb.Chunks(d, ids, func(padded []string, _ int) error {
		query := "SELECT id FROM " + d.ByPrimaryKey("outbox") + " WHERE id IN " + sqldb.Placeholders(len(padded)) +
			" AND published_at IS NULL AND leased_until <= ? ORDER BY id" + d.LockRows() + d.SkipLocked()
		return t.Query(func(scan sqldb.Scan) error {
			var id string
			err := scan(&id)
			free[id] = true
			return err
		}, query, append(sqldb.Anys(padded), d.Time(t.Now))...)
	})
	if err != nil {
		return nil, err
	}
	for _, row := range waiting {
		if free[row.id] {
			leased = append(leased, row)
		}
	}
	return leased, sqldb.Chunks(d, slices.Sorted(maps.Keys(free)), func(padded []string, n int) error {
		update := "UPDATE " + d.ByPrimaryKey("outbox") + " SET leased_until = ? WHERE id IN " + sqldb.Placeholders(len(padded))
		return t.Enqueue(n, "outbox rows to lease", update, append([]any{d.Time(t.Now.Add(lease))}, sqldb.Anys(padded)...)...)
	})
}

// unpublishedBefore returns up to limit rows that are unpublished for longer than age and not leased, oldest first.
func (s *Store) unpublishedBefore(ctx context.Context, age time.Duration, limit int) (rows []outboxRow, err error) {
	d := s.dialect
	err = s.read(ctx, func(ctx context.Context) error {
		rows = nil
		now, err := s.db.Clock(ctx)
		if err != nil {
			return err
		}
		return s.query(ctx, func(scan sqldb.Scan) error {
			var row outboxRow
			err := scan(&row.id, &row.events)
			rows = append(rows, row)
			return err
		}, "SELECT id, events FROM outbox WHERE published_at IS NULL AND created_at <= ? AND leased_until <= ? "+
			"ORDER BY created_at LIMIT ?", d.Time(now.Add(-age)), d.Time(now), limit)
	})
	return rows, err
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
		return sqldb.Chunks(s.dialect, ascending(ids), func(padded []int64, _ int) error {
			return s.query(ctx, func(scan sqldb.Scan) error {
				e, err := scanEvent(scan)
				if wanted[eventRef{e.OrderID, e.Seq}] {
					events = append(events, e)
				}
				return err
			}, "SELECT "+eventColumns+" FROM order_events WHERE order_id IN "+sqldb.Placeholders(len(padded))+
				" ORDER BY order_id, sequence", sqldb.Anys(padded)...)
		})
	})
	return events, err
}

// PurgeOutbox deletes up to limit rows that were published longer ago than age, and returns how many.
func (s *Store) PurgeOutbox(ctx context.Context, age time.Duration, limit int) (int, error) {
	d := s.dialect
	var ids []string
	err := s.read(ctx, func(ctx context.Context) error {
		ids = nil
		now, err := s.db.Clock(ctx)
		if err != nil {
			return err
		}
		return s.query(ctx, func(scan sqldb.Scan) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		}, "SELECT id FROM outbox WHERE published_at <= ? LIMIT ?", d.Time(now.Add(-age)), limit)
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return len(ids), s.write(ctx, "purge", func(t *tx) error {
		return sqldb.Chunks(d, ids, func(padded []string, _ int) error {
			return t.Enqueue(sqldb.AnyRows, "", d.DeleteFrom("outbox")+" WHERE id IN "+sqldb.Placeholders(len(padded)), sqldb.Anys(padded)...)
		})
	})
}

// RecordRefusal records that a full bus refused events at this moment.
func (s *Store) RecordRefusal(ctx context.Context) error {
	return s.write(ctx, "refusal", func(t *tx) error {
		if err := t.NeedClock(); err != nil {
			return err
		}
		now := s.dialect.Time(t.Now)
		result, err := t.Exec(s.dialect.Update()+"outbox_refusals SET refused_at = ? WHERE id = 1", now)
		if err != nil {
			return err
		}
		if matched, err := result.RowsAffected(); err != nil || matched > 0 {
			return err
		}
		_, err = t.Exec("INSERT INTO outbox_refusals (id, refused_at) VALUES (1, ?)"+s.dialect.IgnoreDuplicate("id"), now)
		return err
	})
}
