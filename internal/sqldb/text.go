package sqldb

import (
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// Placeholders is "(?,?,…)" with n marks.
func Placeholders(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")" }

// Rows is n lists of placeholders, comma-separated.
func Rows(n, columns int) string {
	one := Placeholders(columns)
	return strings.TrimSuffix(strings.Repeat(one+",", n), ",")
}

// Chunks cuts list into parts and calls do with each, padded with its last entry to the length that the dialect wants. The
// first n entries of padded are the part itself.
func Chunks[T any](d Batching, list []T, do func(padded []T, n int) error) error {
	for len(list) > 0 {
		size := d.ListLength(len(list))
		n := min(len(list), size)
		padded := make([]T, size)
		copy(padded, list[:n])
		for i := n; i < size; i++ {
			padded[i] = list[n-1]
		}
		if err := do(padded, n); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// Anys is list as arguments.
func Anys[T any](list []T) []any {
	args := make([]any, len(list))
	for i, v := range list {
		args[i] = v
	}
	return args
}

// ScanTime returns a scanner for a column of time: microseconds since 1970, or the driver's own time; NULL is the zero time.
func ScanTime(to *time.Time) sql.Scanner { return timeColumn{to} }

type timeColumn struct{ to *time.Time }

// Scan implements sql.Scanner.
func (c timeColumn) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*c.to = time.Time{}
	case int64:
		*c.to = time.UnixMicro(v).UTC()
	case time.Time:
		*c.to = v.UTC()
	default:
		return fmt.Errorf("a column of time contains %T", value)
	}
	return nil
}
