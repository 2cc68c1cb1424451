package api

import (
	"testing"
	"time"
)

func TestSeldom(t *testing.T) {
	var s seldom
	start := time.Unix(1000, 0)
	for i, c := range []struct {
		after  time.Duration
		due    bool
		missed int64
	}{{0, true, 0}, {time.Millisecond, false, 0}, {999 * time.Millisecond, false, 0}, {time.Second, true, 2}, {3 * time.Second, true, 0}} {
		if missed, due := s.due(start.Add(c.after)); due != c.due || missed != c.missed {
			t.Errorf("line %d: due %v after %d, want %v after %d", i, due, missed, c.due, c.missed)
		}
	}
}
