package store

import (
	"context"
	"sync/atomic"
	"time"

	"orderflow/internal/order"
)

// steadyClock is the time of a process that owns its database file. It advances by elapsed time and never goes back, so that a
// wall clock which is set back delays no retry, lease or publication. It follows a wall clock that is ahead: the machine was
// suspended, or its clock was wrong when the process started.
type steadyClock struct {
	read  func() (wall time.Time, elapsed time.Duration)
	start time.Time    // by the wall clock
	ahead atomic.Int64 // nanoseconds that the wall clock has been ahead of start and the elapsed time, at most
}

func newSteadyClock() *steadyClock {
	start := time.Now()
	return &steadyClock{start: start.Round(0), read: func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(start) // the difference is of the monotonic readings
	}}
}

func (c *steadyClock) now() time.Time {
	wall, elapsed := c.read()
	steady := c.start.Add(elapsed)
	for {
		ahead := c.ahead.Load()
		step := int64(wall.Sub(steady))
		if step <= ahead {
			return steady.Add(time.Duration(ahead))
		}
		if c.ahead.CompareAndSwap(ahead, step) {
			return wall
		}
	}
}

// CorrectTimes corrects times that a clock which was ahead has stored. Call it when this process has become the one server of an
// SQLite file, before it works on orders. An order that was changed in the future becomes due after its wait, counted from now.
// Unpublished events get the present time, and no lease. On MySQL, whose server has the clock, it does nothing.
func (s *Store) CorrectTimes(ctx context.Context) error {
	if s.dialect.Clock() != "" {
		return nil
	}
	return s.write(ctx, "correct times", func(t *tx) error {
		now := s.dialect.Time(t.Now)
		for _, correction := range []statement{
			{
				"UPDATE orders SET due_at = ? + max(due_at - updated_at, 0), updated_at = ? " +
					"WHERE status IN (?, ?, ?) AND due_at > ? AND updated_at > ?",
				[]any{now, now, string(order.Pending), string(order.Processing), string(order.Failed), now, now},
			},
			{"UPDATE outbox SET created_at = min(created_at, ?), leased_until = min(leased_until, ?) " +
				"WHERE published_at IS NULL AND (created_at > ? OR leased_until > ?)", []any{now, now, now, now}},
			{"UPDATE outbox SET published_at = ? WHERE published_at > ?", []any{now, now}},
		} {
			if _, err := t.Exec(correction.query, correction.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
