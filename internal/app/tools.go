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

// Database is a database for commands, which may run beside servers. The caller closes it.
type Database struct {
	*store.Store
	settings config.Settings
}

// SeedPlan describes sample data.
type SeedPlan = store.SeedPlan

// LastStep is the last migration, and what reverting it deletes.
type LastStep = store.LastStep

// Token is an API token without its secret.
type Token = order.Token

// FailedJobService lists, retries and abandons failed jobs.
type FailedJobService = worker.FailedJobService

// OpenDatabase opens an existing database without migrating it.
func OpenDatabase(ctx context.Context, settings config.Settings) (*Database, error) {
	return openDatabase(ctx, settings, true)
}

// CreateDatabase opens a database, and creates an empty one if there is none. It does not migrate it.
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

// busAnswers reports whether the bus of the servers on a database can be reached, as far as a command can determine. Over SQLite
// without Redis it can be reached while a server runs.
func busAnswers(ctx context.Context, settings config.Settings) bool {
	embedded := !settings.Database.OnServer() && settings.Redis == (config.URL{})
	return embedded || RedisAnswers(ctx, settings)
}

// WithoutServer runs work that must not run beside a server on an SQLite file, such as a migration.
func (d *Database) WithoutServer(work func() error) error {
	release, err := d.LockFile()
	if err != nil {
		return err
	}
	return errors.Join(work(), release())
}

// Audit verifies the invariants.
func (d *Database) Audit(ctx context.Context) (audit.Report, error) { return audit.Run(ctx, d.Store) }

// AuditText returns the report of Audit as text.
func (d *Database) AuditText(ctx context.Context) (text string, holds bool, err error) {
	report, err := d.Audit(ctx)
	if err != nil {
		return "", false, err
	}
	var b strings.Builder
	err = report.WriteText(&b)
	return b.String(), report.Holds(), err
}

// NewToken creates a token with a lifetime (0 for no expiry) and the owner in about. It returns the secret, which is not stored.
func (d *Database) NewToken(ctx context.Context, about Token, lifetime time.Duration) (token string, created Token, err error) {
	return auth.NewToken(ctx, d.Store, about, lifetime)
}

// VerifyOrders returns an error unless all these orders exist.
func (d *Database) VerifyOrders(ctx context.Context, ids []int64) error {
	missing, err := d.MissingOrders(ctx, ids)
	if err == nil && len(missing) > 0 {
		err = order.Errorf(order.CodeNotFound, "%d orders that were answered with 201 do not exist; the first one is %d.",
			len(missing), missing[0])
	}
	return err
}

// FailedJobService returns the service for failed jobs. The relay of a running server publishes the events of its changes.
func (d *Database) FailedJobService(ctx context.Context) (*FailedJobService, error) {
	return newFailedJobService(ctx, d.settings, d.Store, worker.FailedJobServiceOptions{})
}

// auditor runs the audit for the API.
type auditor struct{ source audit.Source }

// WriteAudit implements api.Auditor.
func (a auditor) WriteAudit(ctx context.Context, w io.Writer) error {
	report, err := audit.Run(ctx, a.source)
	if err != nil {
		return err
	}
	return report.WriteJSON(w)
}

// ServeHandler serves a handler with the limits of the product's servers until ctx ends. It calls ready with the address.
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

// Terminal reports whether w is a terminal.
func Terminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && telemetry.Terminal(file)
}

// SurviveBrokenPipes keeps the process alive when the reader of its output exits. It returns a function that undoes this.
func SurviveBrokenPipes() (undo func()) { return telemetry.SurviveBrokenPipes() }
