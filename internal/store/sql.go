package store

import (
	"database/sql"
	"fmt"
	"strings"
	"time"

	"orderflow/internal/order"
)

// placeholders is "(?,?,…)" with n marks.
func placeholders(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")" }

// rows is n lists of placeholders, comma-separated.
func rows(n, columns int) string {
	one := placeholders(columns)
	return strings.TrimSuffix(strings.Repeat(one+",", n), ",")
}

// chunks cuts list into pieces and calls do with each, padded with its last entry to the length that the dialect wants.
// The first n entries of padded are the piece itself.
func chunks[T any](d dialect, list []T, do func(padded []T, n int) error) error {
	for len(list) > 0 {
		size := d.padded(len(list))
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

// anys is list as arguments.
func anys[T any](list []T) []any {
	args := make([]any, len(list))
	for i, v := range list {
		args[i] = v
	}
	return args
}

// scanMoney reads a column of money: minor units or decimal text.
type scanMoney struct{ to *order.Money }

// Scan implements sql.Scanner.
func (s scanMoney) Scan(value any) (err error) {
	switch v := value.(type) {
	case int64:
		*s.to = order.Money(v)
	case []byte:
		*s.to, err = order.ParseMoney(string(v))
	case string:
		*s.to, err = order.ParseMoney(v)
	default:
		err = fmt.Errorf("a column of money holds %T", value)
	}
	return err
}

// scanTime reads a column of time: microseconds since 1970, or the driver's own time; NULL is the zero time.
type scanTime struct{ to *time.Time }

// Scan implements sql.Scanner.
func (s scanTime) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*s.to = time.Time{}
	case int64:
		*s.to = time.UnixMicro(v).UTC()
	case time.Time:
		*s.to = v.UTC()
	default:
		return fmt.Errorf("a column of time holds %T", value)
	}
	return nil
}

// each reads all rows and closes them; errors that come at the end of the rows count too.
func each(found *sql.Rows, read func(scan func(...any) error) error) error {
	defer found.Close()
	for found.Next() {
		if err := read(found.Scan); err != nil {
			return err
		}
	}
	return found.Err()
}
