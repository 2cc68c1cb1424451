package store

import (
	"context"
	"errors"
	"fmt"

	"orderflow/internal/order"
	"orderflow/internal/sqldb"
	"orderflow/internal/tracing"
)

// tx is a running write transaction with the values that the store's statements need. One goroutine uses it. After an error it can
// only be rolled back.
type tx struct {
	*sqldb.Tx

	s *Store
}

// write runs work in a transaction, marks published events with it, and commits (see sqldb.DB.Write). work may run several
// times, so each run must compute its results anew. Errors have codes: CodeUnavailable when the database cannot be written,
// the code of work's own *order.Error, else the plain error.
func (s *Store) write(ctx context.Context, name string, work func(*tx) error) (err error) {
	ctx, span := tracing.Start(ctx, "transaction", tracing.Client)
	if span.Recording() {
		span.Set(tracing.Text("db.operation.name", name))
	}
	defer func() { span.End(err) }()
	var marked []string
	err = coded(s.db.Write(ctx, name, func(inner *sqldb.Tx) error {
		t := &tx{inner, s}
		if err := work(t); err != nil {
			return err
		}
		marked, err = t.markPublished()
		return err
	}))
	if err == nil {
		s.forgetPublished(marked)
	}
	return err
}

// read runs queries under the limit for reads. It runs them again when their connection breaks, so they must begin anew each
// time.
func (s *Store) read(ctx context.Context, queries func(ctx context.Context) error) error {
	return coded(s.db.Read(ctx, queries))
}

// readReplica is read for rows that may be a little old: a replica may answer.
func (s *Store) readReplica(ctx context.Context, queries func(ctx context.Context, query sqldb.QueryFunc) error) error {
	return coded(s.db.ReadReplica(ctx, queries))
}

// query reads all rows of a query.
func (s *Store) query(ctx context.Context, read func(scan sqldb.Scan) error, query string, args ...any) error {
	return s.db.Reader.Rows(ctx, read, query, args...)
}

// coded returns an error of the database as one of the product, with its code. Other errors stay as they are. It is the only
// place that maps them.
func coded(err error) error {
	e, ok := errors.AsType[*sqldb.Error](err)
	if !ok {
		return err
	}
	code := order.CodeUnavailable
	switch e.Kind {
	case sqldb.Unavailable:
	case sqldb.NotFound:
		code = order.CodeNotFound
	case sqldb.Invalid:
		code = order.CodeValidation
	}
	return &order.Error{Code: code, Message: e.Message, Cause: e.Cause}
}

// statement is a text of SQL with its arguments.
type statement struct {
	query string
	args  []any
}

// money binds an amount.
func (s *Store) money(m order.Money) any {
	if s.dialect.StoresDecimals() {
		return m.String()
	}
	return int64(m)
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
		err = fmt.Errorf("a column of money contains %T", value)
	}
	return err
}
