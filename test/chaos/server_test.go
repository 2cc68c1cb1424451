package chaos

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
	"orderflow/test/env"
)

// server is the product as a process of its own.
type server struct {
	*env.Process
	t            *testing.T
	errorsLogged bool // the test causes errors in the log
}

// launch is how to start a server.
type launch struct {
	database     string // path, mysql://… or postgres://…
	args         []string
	stderr       *os.File            // nil for the log of the process
	user         *syscall.Credential // nil for this user
	errorsLogged bool                // the test causes errors in the log
}

// command returns a command of the binary with no settings except those in args.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(binary(t), args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + env.SharedFolder(t), "GORACE=halt_on_error=1 atexit_sleep_ms=0"}
	return c
}

// start starts a server without waiting until it is ready. The server is killed when the test ends.
func start(t *testing.T, l launch) *server {
	t.Helper()
	c := command(t, append([]string{
		"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--database", addressOf(l.database), "--rate-limit", "off",
		"--log-format", "json", "--log-level", "warn",
	}, l.args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: l.user}
	if l.stderr != nil {
		c.Stderr = l.stderr
	}
	return &server{env.StartProcess(t, c), t, l.errorsLogged}
}

// ready waits until the server listens and returns its address.
func (s *server) ready() string {
	s.t.Helper()
	addr, err := s.Ready()
	if err != nil {
		s.t.Fatal(err)
	}
	return addr
}

// kill is kill -9; when it returns, the process is gone.
func (s *server) kill() {
	s.t.Helper()
	if err := s.Kill(); err != nil {
		s.t.Error(err)
	}
	s.checkLog()
}

// terminate asks the server to end.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("SIGTERM: %v\n%s", err, s.logTail())
	}
}

// awaitExit waits until the server ends by itself with an exit code, within the 30 s that the product guarantees.
func (s *server) awaitExit(code int) {
	s.t.Helper()
	err := s.Wait(30 * time.Second)
	if got := s.ExitCode(); got != code {
		s.t.Errorf("the server ended with %d (%v), want %d\n%s", got, err, code, s.logTail())
	}
	s.checkLog()
}

// stop ends the server in order.
func (s *server) stop() {
	s.t.Helper()
	s.terminate()
	s.awaitExit(0)
}

// checkLog fails the test when the log has a panic, a data race or an unexpected error.
func (s *server) checkLog() {
	s.t.Helper()
	log := s.Log.String()
	for _, sign := range []string{"DATA RACE", "panic", "fatal error", `"level":"error"`} {
		if s.errorsLogged && strings.HasPrefix(sign, `"`) {
			continue
		}
		if strings.Contains(log, sign) {
			s.t.Errorf("the server's log has a %s:\n%s", sign, s.logTail())
		}
	}
}

// logTail returns the last 32 kB of the log.
func (s *server) logTail() string {
	log := s.Log.String()
	return log[max(0, len(log)-32<<10):]
}

// newDatabase makes a database file with the sample data and this much stock of every product, and returns its path.
func newDatabase(t *testing.T, dir string, stock int64) string {
	t.Helper()
	path := filepath.Join(dir, "orderflow.db")
	fill(t, path, stock)
	return path
}

// fill creates the tables of a database, with the sample data and this stock of every product.
func fill(t *testing.T, database string, stock int64) {
	t.Helper()
	db, err := app.CreateDatabase(t.Context(), at(database))
	if err != nil {
		t.Fatal(err)
	}
	if err = db.Migrate(t.Context()); err == nil {
		err = db.Seed(t.Context(), app.SeedPlan{SetStock: true, Stock: stock})
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// addressOf returns a database, the path of a file, mysql://… or postgres://…, as --database takes it.
func addressOf(database string) string {
	if strings.Contains(database, "://") {
		return database
	}
	return "sqlite:" + database
}

// at returns the settings of a database.
func at(database string) config.Settings {
	settings := config.Defaults()
	settings.Database = config.NewURL(addressOf(database))
	return settings
}

// openDatabase opens a database, also while its server runs.
func openDatabase(t *testing.T, database string) *app.Database {
	t.Helper()
	db, err := app.OpenDatabase(t.Context(), at(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// audit fails the test when an invariant is violated.
func audit(t *testing.T, db *app.Database) {
	t.Helper()
	text, holds, err := db.AuditText(t.Context())
	if err != nil || !holds {
		t.Errorf("the audit failed: %v\n%s", err, text)
	}
}
