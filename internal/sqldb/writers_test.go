package sqldb

import (
	"database/sql"
	"testing"
	"time"
)

// TestIdleWriterStaysLast: a writer that was only pinged is not taken before those that work, so that after a peak its connection is
// idle for long enough to be closed.
func TestIdleWriterStaysLast(t *testing.T) {
	all := newWriters(3)
	for range 3 {
		all.take().conn = &sql.Conn{}
	}
	first, second, third := &writer{conn: &sql.Conn{}}, &writer{conn: &sql.Conn{}}, &writer{conn: &sql.Conn{}}
	for _, w := range []*writer{first, second, third} {
		all.put(w)
	}
	idle := all.longIdle(time.Now().Add(time.Second))
	if idle != first {
		t.Fatal("the writer that was used longest ago is not the first to be kept alive")
	}
	all.putIdle(idle)
	if got := all.take(); got != third {
		t.Error("the writer that was used last is not taken first")
	}
	if got := all.take(); got != second {
		t.Error("the writer that was kept alive is taken before one that was used later")
	}
	if got := all.longIdle(time.Now().Add(-time.Minute)); got != nil {
		t.Error("a writer that was used a moment ago counts as idle")
	}
}
