package chaos

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"orderflow/test/env"
)

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// runToEnd runs a command of the binary to its end.
func runToEnd(t *testing.T, as *syscall.Credential, args ...string) result {
	t.Helper()
	c := command(t, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// wantError fails the test unless a command was refused with this code and one line with this text.
func (v result) wantError(t *testing.T, code int, want string) {
	t.Helper()
	line, rest, _ := strings.Cut(v.stderr, "\n")
	if v.code != code || v.stdout != "" || rest != "" || !strings.HasPrefix(line, "orderflow: ") || !strings.Contains(line, want) {
		t.Errorf("ended with %d, said %q and %q; want %d and one line with %q", v.code, v.stdout, v.stderr, code, want)
	}
}

// snapshot returns the content of a folder's files, except the lock and SQLite's shared memory.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") || strings.HasSuffix(e.Name(), "-shm") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > 0 || !strings.HasSuffix(e.Name(), "-wal") { // an empty one is none
			files[e.Name()] = string(content)
		}
	}
	return files
}

// unchanged fails the test when files of a folder have changed.
func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := snapshot(t, dir)
	for name, content := range before {
		if now, ok := after[name]; !ok || now != content {
			t.Errorf("%s is not what it was: %d bytes, was %d (there: %v)", name, len(now), len(content), ok)
		}
		delete(after, name)
	}
	for name := range after {
		t.Errorf("%s is new", name)
	}
}

func serveOn(path string) []string {
	return []string{"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--database", "sqlite:" + path}
}

// TestSecondServer starts a second server on a file in use. It is refused, and the first one is not disturbed.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, t.TempDir(), 10)
	first := start(t, launch{database: database})
	addr := first.ready()
	for range 2 {
		runToEnd(t, nil, serveOn(database)...).wantError(t, 1, "Another orderflow server is using "+database)
	}
	// The address is taken, the database is not: this one must let go of it.
	other := newDatabase(t, t.TempDir(), 10)
	runToEnd(t, nil, "serve", "--addr", addr, "--realtime-addr", "127.0.0.1:0", "--database", "sqlite:"+other).wantError(t, 1, "Cannot listen on "+addr)
	var w wire
	defer w.close()
	if a, err := w.ask(addr, "POST", "/api/v1/orders", `{"user_id":1,"idempotency_key":"a","items":[{"product_id":1,"quantity":1}]}`); err != nil || a.status != 201 {
		t.Errorf("%v, %v", a, err)
	}
	first.stop()
	second := start(t, launch{database: database}) // the first one's lock is gone with it
	second.ready()
	second.stop()
	audit(t, openDatabase(t, database))
}

// TestInvalidDatabases refuses databases with one line of error, and changes nothing.
func TestInvalidDatabases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		want  string
	}{
		{"of a newer release", func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", "file:"+path)
			if err == nil {
				_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
			}
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}, "newer"},
		{"corrupt from the first page", func(t *testing.T, path string) { overwrite(t, path, 100, 4096) }, "damaged"},
		{"of another kind", func(t *testing.T, path string) { overwrite(t, path, 0, 4096) }, "not an SQLite database"},
		{"torn off", func(t *testing.T, path string) {
			if err := os.Truncate(path, 4096+100); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := newDatabase(t, dir, 10)
			c.spoil(t, path)
			before := snapshot(t, dir)
			runToEnd(t, nil, serveOn(path)...).wantError(t, 1, c.want)
			unchanged(t, dir, before)
		})
	}
	t.Run("in no folder", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "none", "orderflow.db")
		runToEnd(t, nil, serveOn(path)...).wantError(t, 1, "the folder "+filepath.Dir(path)+" does not exist")
		unchanged(t, dir, nil)
	})
	t.Run("a folder", func(t *testing.T) {
		dir := t.TempDir()
		runToEnd(t, nil, serveOn(dir)...).wantError(t, 1, "Cannot open the database "+dir)
		unchanged(t, dir, nil)
	})
}

// overwrite writes noise into a file.
func overwrite(t *testing.T, path string, from, to int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(bytes.Repeat([]byte{0xa5}, int(to-from)), from)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestReadOnlyDatabase refuses a file and a folder without write permission.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp(env.SharedFolder(t), "read-only") //nolint:usetesting // nobody may look into the test's own
	if err != nil {
		t.Fatal(err)
	}
	path := newDatabase(t, dir, 10)
	var nobody *syscall.Credential
	if os.Getuid() == 0 { // root may write everything
		nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	mode := func(file, dirMode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.Chmod(path, file), os.Chmod(dir, dirMode)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { mode(0o600, 0o700) }) // so that it can be removed
	before := snapshot(t, dir)
	mode(0o444, 0o777)
	runToEnd(t, nobody, serveOn(path)...).wantError(t, 1, "read-only")
	unchanged(t, dir, before)
	for _, name := range []string{path + ".lock", path + "-shm", path + "-wal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	mode(0o666, 0o555)
	runToEnd(t, nobody, serveOn(path)...).wantError(t, 1, "writable")
	unchanged(t, dir, before)
}

// TestWrongSettings ends with code 2 and one line; no database is opened.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "orderflow.db")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--lease", "10s"}, "--lease (10s) must be longer than --charge-timeout (10s)"},
		{[]string{"--rate-limit", "many"}, "--rate-limit"},
		{[]string{"--addr", "0.0.0.0:0"}, "--auth"},
		{[]string{"--roles", "worker,poet"}, "--roles"},
		{[]string{"--queue-max", "5", "--batch-max", "6"}, "--queue-max (5)"},
		{[]string{"--database", "mysql://root:secret@host"}, "--database"},
		{[]string{"--gateway", "ftp://x"}, "--gateway"},
		{[]string{"--no-such-flag"}, "--no-such-flag"},
		{[]string{"surplus"}, "surplus"},
	} {
		v := runToEnd(t, nil, append(serveOn(path), c.args...)...)
		v.wantError(t, 2, c.want)
		if strings.Contains(v.stderr, "secret") {
			t.Errorf("a secret is printed: %s", v.stderr)
		}
	}
	unchanged(t, dir, nil)
}
