package app

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"orderflow/internal/audit"
	"orderflow/internal/auth"
	"orderflow/internal/config"
	"orderflow/internal/order"
	"orderflow/internal/store"
	"orderflow/internal/telemetry"
	"orderflow/internal/web"
	"orderflow/internal/worker"
)

// Database is a database that tools work on, with or without a server beside them. Close it.
type Database struct {
	*store.Store
	settings config.Settings
}

// SeedPlan says what sample data to have.
type SeedPlan = store.SeedPlan

// LastStep is the last step of the schema, and what taking it back deletes.
type LastStep = store.LastStep

// Token is what is known of an API token.
type Token = order.Token

// FailedJobService is where dead letters are dealt with.
type FailedJobService = worker.FailedJobService

// OpenDatabase opens the database of the settings, which must be there, as it is: it does not migrate it.
func OpenDatabase(ctx context.Context, settings config.Settings) (*Database, error) {
	return openDatabase(ctx, settings, true)
}

// CreateDatabase is OpenDatabase that makes an empty database where there is none.
func CreateDatabase(ctx context.Context, settings config.Settings) (*Database, error) {
	return openDatabase(ctx, settings, false)
}

func openDatabase(ctx context.Context, settings config.Settings, existing bool) (*Database, error) {
	db, err := store.Open(ctx, settings.Database.Reveal(), store.Options{
		Rules: Rules(settings), Existing: existing, BusReachable: func() bool { return busAnswers(ctx, settings) },
	})
	if err != nil {
		return nil, err
	}
	return &Database{db, settings}, nil
}

// busAnswers reports whether the bus of the servers on a database can be reached, as far as a tool can know. Over SQLite without
// Redis it can while there is a server.
func busAnswers(ctx context.Context, settings config.Settings) bool {
	embedded := !settings.Database.MySQL() && settings.Redis == (config.URL{})
	return embedded || RedisAnswers(ctx, settings)
}

// WithoutServer runs work that no server may run beside, such as a change of the schema.
func (d *Database) WithoutServer(work func() error) error {
	release, err := d.LockFile()
	if err != nil {
		return err
	}
	return errors.Join(work(), release())
}

// Audit audits the books.
func (d *Database) Audit(ctx context.Context) (audit.Report, error) { return audit.Run(ctx, d.Store) }

// AuditText is Prove as text.
func (d *Database) AuditText(ctx context.Context) (text string, holds bool, err error) {
	report, err := d.Audit(ctx)
	if err != nil {
		return "", false, err
	}
	var b strings.Builder
	err = report.WriteText(&b)
	return b.String(), report.Holds(), err
}

// NewToken makes a token that lasts so long (0 for ever) and returns it: it is never to be had again. about says whose it is.
func (d *Database) NewToken(ctx context.Context, about Token, lasts time.Duration) (token string, kept Token, err error) {
	return auth.NewToken(ctx, d.Store, about, lasts)
}

// VerifyOrders returns an error when one of these orders does not exist.
func (d *Database) VerifyOrders(ctx context.Context, ids []int64) error {
	missing, err := d.MissingOrders(ctx, ids)
	if err == nil && len(missing) > 0 {
		err = order.Errorf(order.CodeNotFound, "%d orders that were answered with 201 do not exist, the first of them is %d.",
			len(missing), missing[0])
	}
	return err
}

// FailedJobService returns the desk of the database. What it changes is published by the relay of a running server.
func (d *Database) FailedJobService(ctx context.Context) (*FailedJobService, error) {
	return newFailedJobService(ctx, d.settings, d.Store, worker.FailedJobServiceOptions{})
}

// newFailedJobService makes a desk with the gateway of the settings; the options say the rest.
func newFailedJobService(ctx context.Context, settings config.Settings, db *store.Store, options worker.FailedJobServiceOptions) (*FailedJobService, error) {
	installation, err := db.Installation(ctx)
	if err != nil {
		return nil, err
	}
	gateway, err := NewGateway(settings, installation)
	if err != nil {
		return nil, err
	}
	options.Jobs, options.Gateway, options.Installation, options.ChargeTimeout = db, gateway, installation, settings.ChargeTimeout
	return worker.NewFailedJobService(options), nil
}

// auditor audits the books for the API.
type auditor struct{ books audit.Source }

// WriteAudit implements api.Auditor.
func (a auditor) WriteAudit(ctx context.Context, w io.Writer) error {
	report, err := audit.Run(ctx, a.books)
	if err != nil {
		return err
	}
	return report.WriteJSON(w)
}

// ServeHandler serves a handler under the limits of every server of the product until ctx ends. ready is told the
// address.
func ServeHandler(ctx context.Context, addr string, handler http.Handler, ready func(url string) error) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	server := web.NewServer(handler, web.Limits{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := ready("http://" + listener.Addr().String()); err != nil {
		return errors.Join(err, server.Close())
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		err := server.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}
}

// Terminal reports whether a person reads what is written to w.
func Terminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && telemetry.Terminal(file)
}

// SurviveBrokenPipes keeps a server alive when nobody reads what it prints any more; it returns a function that undoes
// it.
func SurviveBrokenPipes() (undo func()) { return telemetry.SurviveBrokenPipes() }
