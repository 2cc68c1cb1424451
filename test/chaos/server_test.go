package chaos

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// server is the real binary as a process of its own.
type server struct {
	t       *testing.T
	command *exec.Cmd
	first   chan string   // its first line
	ended   chan struct{} // closed when the process is gone
	err     error         // of the process; read it after ended
	log     string        // the file of its standard error, "" when it goes elsewhere
	pained  bool          // it may log errors
}

// launch says how to start a server.
type launch struct {
	database string // path, or mysql://…
	args     []string
	stderr   *os.File            // nil for a file of its own
	as       *syscall.Credential // nil for this user
	pained   bool                // what is done to it is worth errors in its log
}

// command makes the command of the server's binary, with no settings but those in args.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(binary(t), args...)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + folder, "GORACE=halt_on_error=1 atexit_sleep_ms=0"}
	return c
}

// start starts a server and does not wait until it is ready. It is killed at the latest when the test ends.
func start(t *testing.T, l launch) *server {
	t.Helper()
	s := &server{t: t, pained: l.pained, first: make(chan string, 1), ended: make(chan struct{})}
	s.command = command(t, append([]string{
		"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--database", addressOf(l.database), "--rate-limit", "off",
		"--log-format", "json", "--log-level", "warn",
	}, l.args...)...)
	s.command.SysProcAttr = &syscall.SysProcAttr{Credential: l.as}
	if l.stderr == nil {
		file, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		l.stderr, s.log = file, file.Name()
	}
	s.command.Stderr = l.stderr
	out, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		reader := bufio.NewReader(out)
		line, _ := reader.ReadString('\n') // a server that ends early leaves it short
		s.first <- line
		_, _ = io.Copy(io.Discard, reader) // until the process is gone
		s.err = s.command.Wait()
	}()
	t.Cleanup(func() {
		_ = s.command.Process.Kill() // it may be gone already
		<-s.ended
	})
	return s
}

// ready waits until the server listens and returns its address.
func (s *server) ready() string {
	s.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case line := <-s.first:
		_, addr, found := strings.Cut(strings.TrimSpace(line), " is ready on http://")
		if !found {
			<-s.ended
			s.t.Fatalf("the server did not start: %q, %v\n%s", line, s.err, s.said())
		}
		return addr
	case <-timer.C:
		s.t.Fatalf("the server is not ready\n%s", s.said())
	}
	return ""
}

// kill is kill -9; when it returns, the process is gone.
func (s *server) kill() {
	s.t.Helper()
	if err := s.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Error(err)
	}
	<-s.ended
	s.sound()
}

// terminate asks the server to end.
func (s *server) terminate() {
	s.t.Helper()
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("SIGTERM: %v\n%s", err, s.said())
	}
}

// gone waits until the server has ended by itself, which it must within the 30 s that it promises, with this exit code.
func (s *server) gone(code int) {
	s.t.Helper()
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-s.ended:
		if got := s.command.ProcessState.ExitCode(); got != code {
			s.t.Errorf("the server ended with %d (%v), want %d\n%s", got, s.err, code, s.said())
		}
	case <-timer.C:
		s.t.Errorf("the server did not end within 30 s\n%s", s.said())
		s.kill()
	}
	s.sound()
}

// stop ends the server in order.
func (s *server) stop() {
	s.t.Helper()
	s.terminate()
	s.gone(0)
}

// sound looks for panics and data races in what the server said.
func (s *server) sound() {
	s.t.Helper()
	said := s.said()
	for _, sign := range []string{"DATA RACE", "panic", "fatal error", `"level":"error"`} {
		if s.pained && strings.HasPrefix(sign, `"`) {
			continue
		}
		if strings.Contains(said, sign) {
			s.t.Errorf("the server's log has a %s:\n%s", sign, said)
		}
	}
}

// said is the server's log, at most the last 32 kB of it.
func (s *server) said() string {
	if s.log == "" {
		return ""
	}
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-32<<10):])
}

// newDatabase makes a database file with the sample data and this much stock of every product, and returns its path.
func newDatabase(t *testing.T, dir string, stock int64) string {
	t.Helper()
	path := filepath.Join(dir, "orderflow.db")
	fill(t, path, stock)
	return path
}

// fill makes the tables of a database, and fills in the sample data with this much stock of every product.
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

// addressOf is a database, the path of a file or mysql://…, as --database takes it.
func addressOf(database string) string {
	if strings.Contains(database, "://") {
		return database
	}
	return "sqlite:" + database
}

// at are the settings of a database.
func at(database string) config.Settings {
	settings := config.Defaults()
	settings.Database = config.NewURL(addressOf(database))
	return settings
}

// openDatabase opens a database beside, or instead of, its server.
func openDatabase(t *testing.T, database string) *app.Database {
	t.Helper()
	db, err := app.OpenDatabase(t.Context(), at(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// prove audits the books.
func prove(t *testing.T, db *app.Database) {
	t.Helper()
	text, holds, err := db.AuditText(t.Context())
	if err != nil || !holds {
		t.Errorf("the books are wrong: %v\n%s", err, text)
	}
}
