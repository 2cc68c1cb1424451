package api

import (
	"testing"
	"time"
)

func TestLogLimiter(t *testing.T) {
	var l logLimiter
	start := time.Unix(1000, 0)
	for i, c := range []struct {
		after   time.Duration
		allowed bool
		dropped int64
	}{{0, true, 0}, {time.Millisecond, false, 0}, {999 * time.Millisecond, false, 0}, {time.Second, true, 2}, {3 * time.Second, true, 0}} {
		dropped, allowed := l.allow(start.Add(c.after))
		if allowed != c.allowed {
			t.Errorf("line %d: allowed %t, want %t", i, allowed, c.allowed)
		}
		if dropped != c.dropped {
			t.Errorf("line %d: %d lines dropped before it, want %d", i, dropped, c.dropped)
		}
	}
}
