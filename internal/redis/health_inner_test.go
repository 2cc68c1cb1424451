package redis

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counted is a health that counts its log lines and reports.
type counted struct {
	health

	lines   int
	reports []bool
}

func newCounted() *counted {
	c := &counted{}
	c.health = health{
		logger: slog.New(slog.NewTextHandler(c, nil)), failures: map[operation]*failure{},
		changed: func(healthy bool) { c.reports = append(c.reports, healthy) },
	}
	return c
}

// Write counts one log line.
func (c *counted) Write(line []byte) (int, error) {
	c.lines++
	return len(line), nil
}

var errRefused = errors.New("refused")

// TestReturnsAreDelayed: the delay grows, up to a bound, for a server that goes down right after each return. It ends once the server
// has been up for a while.
func TestReturnsAreDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted()
		returns := 0
		for begin := time.Now(); time.Since(begin) < time.Hour; time.Sleep(250 * time.Millisecond) {
			if c.mayReturn(time.Now()) {
				c.markUp()
				returns++
				c.markDown(errRefused)
			}
		}
		if returns < 100 || returns > 200 { // about every 30 s
			t.Errorf("%d returns within an hour, want 100 to 200", returns)
		}
		if c.lines > 2*returns {
			t.Errorf("%d log lines", c.lines)
		}
		for !c.mayReturn(time.Now()) {
			time.Sleep(time.Second)
		}
		c.markUp()
		time.Sleep(stableAfter)
		c.markDown(errRefused)
		if !c.mayReturn(time.Now()) {
			t.Error("a return is delayed after a stable time")
		}
	})
}

// TestLastingFailure: a lasting failure has one log line at the change and one every five minutes.
func TestLastingFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted()
		c.markUp()
		op := operation{"publish to topic", "t"}
		for range 3600 {
			c.fail(op, errRefused)
			c.succeed(operation{"publish to topic", "another"})
			c.expire(time.Now())
			time.Sleep(time.Second)
		}
		if c.lines < 10 || c.lines > 14 {
			t.Errorf("%d log lines within an hour", c.lines)
		}
		if diff := cmp.Diff([]bool{true, false}, c.reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		c.succeed(op)
		c.expire(time.Now())
		if diff := cmp.Diff([]bool{true, false, true}, c.reports); diff != "" {
			t.Errorf("reports after a success (-want +got):\n%s", diff)
		}
	})
}

// TestChangingFailure: an operation that alternately fails and works does not change the health each time.
func TestChangingFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted()
		c.markUp()
		op := takeLocks()
		for range 600 {
			c.fail(op, errRefused)
			time.Sleep(3 * time.Second)
			c.succeed(op)
			time.Sleep(3 * time.Second)
		}
		if len(c.reports) > 20 {
			t.Errorf("%d changes within an hour", len(c.reports))
		}
		if healthy := c.reports[len(c.reports)-1]; healthy {
			t.Error("healthy although every other call fails")
		}
	})
}

// TestUntriedOperation: an operation without further tries stops counting as failing, and its record is deleted.
func TestUntriedOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCounted()
		c.markUp()
		c.fail(takeLocks(), errRefused)
		for range int(2*untriedExpiry/time.Second) + 1 {
			time.Sleep(time.Second)
			c.expire(time.Now())
		}
		if c.failing() {
			t.Error("an untried operation still counts as failing")
		}
		if len(c.failures) > 0 {
			t.Errorf("records that were not deleted: %v", c.failures)
		}
	})
}

func TestBackoff(t *testing.T) {
	b := backoff{first: time.Second, longest: 5 * time.Second}
	for _, seconds := range []int{1, 2, 4, 5, 5} {
		middle := time.Duration(seconds) * time.Second
		if got := b.next(); got < middle*3/4 || got > middle*5/4 {
			t.Errorf("%s, want %s ± 25 %%", got, middle)
		}
	}
	b.reset()
	if got := b.next(); got > 5*time.Second/4 {
		t.Errorf("the first pause after a reset is %s", got)
	}
}
