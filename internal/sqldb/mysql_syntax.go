package sqldb

import (
	"encoding/hex"
	"strings"
	"time"
)

// mysqlRows is how many rows a statement has at most. Its text then stays far below the smallest packet that is accepted
// (mysqlPacketMin).
const mysqlRows = 2000

// Prepares: the driver writes values into the text, and quotes them for the connection's character set. A prepared statement
// would cost a round trip for each new length of a batch.
func (*mysqlDialect) Prepares() bool { return false }

func (*mysqlDialect) RowsPerInsert(n int) int { return min(n, mysqlRows) }
func (*mysqlDialect) ListLength(n int) int    { return min(n, mysqlRows) }
func (*mysqlDialect) Insert() string          { return "INSERT INTO " }
func (*mysqlDialect) Update() string          { return "UPDATE " }
func (*mysqlDialect) LockRows() string        { return " FOR UPDATE" }
func (*mysqlDialect) SkipLocked() string      { return " SKIP LOCKED" }
func (*mysqlDialect) Concat(parts ...string) string {
	return "CONCAT(" + strings.Join(parts, ", ") + ")"
}

func (*mysqlDialect) IgnoreDuplicate(key string) string {
	return " ON DUPLICATE KEY UPDATE " + key + " = " + key
}
func (*mysqlDialect) StoresDecimals() bool                  { return true }
func (*mysqlDialect) BinaryMark(value []byte) string        { return "X'" + hex.EncodeToString(value) + "'" }
func (*mysqlDialect) WithBinary(args []any, _ []byte) []any { return args }

func (*mysqlDialect) NoIndex(column string) string { return column } // ByPrimaryKey chooses the index
func (*mysqlDialect) LockBeforeUpdate() bool       { return false }  // an UPDATE by the primary key locks in its order
func (*mysqlDialect) IntegerMark() string          { return "?" }
func (*mysqlDialect) Key(text string) any          { return text } // the columns are VARBINARY

// EqualEmail: the collation of the column ignores case, and more.
func (*mysqlDialect) EqualEmail(column string) string { return column + " = ?" }

// Clock is the server's: processes on many machines compare times.
func (*mysqlDialect) Clock() string { return "UTC_TIMESTAMP(6)" }

// ByPrimaryKey: with few rows in a table the optimizer reads all of them instead of the named ones, and waits for rows that
// other transactions have locked.
func (*mysqlDialect) ByPrimaryKey(table string) string { return table + " FORCE INDEX (PRIMARY)" }

// ByIndex: for a LIMIT, the optimizer may walk the primary key from its end instead, past every newer row of other users.
func (*mysqlDialect) ByIndex(table, index string) string {
	return table + " FORCE INDEX (" + index + ")"
}

// DeleteFrom is the multi-table form, since only that accepts a hint.
func (*mysqlDialect) DeleteFrom(table string) string {
	return "DELETE " + table + " FROM " + table + " FORCE INDEX (PRIMARY)"
}

// ShareUnlocked: MySQL accepts SKIP LOCKED only behind FOR SHARE, which MariaDB lacks. Each reads its own comment.
func (*mysqlDialect) ShareUnlocked() string {
	return " /*!80001 FOR SHARE SKIP LOCKED */ /*M!100600 LOCK IN SHARE MODE SKIP LOCKED */"
}

// LockTables: the server takes the metadata locks when it opens the tables, and then finds that there is nothing to read.
func (*mysqlDialect) LockTables(names ...string) string {
	return " AND NOT EXISTS (SELECT 1 FROM " + strings.Join(names, ", ") + " WHERE FALSE FOR UPDATE)"
}

func (*mysqlDialect) SelectPairs(columns string, i PairIndex, n int) string {
	return "SELECT " + columns + " FROM " + i.Table + " " + i.Alias + " FORCE INDEX (" + i.Index + ") WHERE (" +
		i.Alias + "." + i.First + ", " + i.Alias + "." + i.Second + ") IN (" + Rows(n, 2) + ")"
}

func (*mysqlDialect) Time(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}
