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

// verdict is how a command ended.
type verdict struct {
	code           int
	stdout, stderr string
}

// play runs a command of the binary to its end.
func play(t *testing.T, as *syscall.Credential, args ...string) verdict {
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
	return verdict{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// oneLine fails the test unless a command was refused with this code and one line that begins and goes on so.
func (v verdict) oneLine(t *testing.T, code int, want string) {
	t.Helper()
	line, rest, _ := strings.Cut(v.stderr, "\n")
	if v.code != code || v.stdout != "" || rest != "" || !strings.HasPrefix(line, "orderflow: ") || !strings.Contains(line, want) {
		t.Errorf("ended with %d, said %q and %q; want %d and one line with %q", v.code, v.stdout, v.stderr, code, want)
	}
}

// snapshot is the content of a folder's files, apart from the lock and SQLite's shared memory, which are no data.
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

// unchanged fails the test when the files of a folder are not what they were.
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

// TestSecondServer: one file, one server. The first one does not notice.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	database := newDatabase(t, t.TempDir(), 10)
	first := start(t, launch{database: database})
	addr := first.ready()
	for range 2 {
		play(t, nil, serveOn(database)...).oneLine(t, 1, "Another orderflow server is using "+database)
	}
	// The address is taken, the database is not: this one must let go of it.
	other := newDatabase(t, t.TempDir(), 10)
	play(t, nil, "serve", "--addr", addr, "--realtime-addr", "127.0.0.1:0", "--database", "sqlite:"+other).oneLine(t, 1, "Cannot listen on "+addr)
	var w wire
	defer w.close()
	if a, err := w.ask(addr, "POST", "/api/v1/orders", `{"user_id":1,"idempotency_key":"a","items":[{"product_id":1,"quantity":1}]}`); err != nil || a.status != 201 {
		t.Errorf("%v, %v", a, err)
	}
	first.stop()
	second := start(t, launch{database: database}) // the first one's lock is gone with it
	second.ready()
	second.stop()
	prove(t, openDatabase(t, database))
}

// TestDatabasesThatCannotBeServed: one line says why, and nothing is changed.
func TestDatabasesThatCannotBeServed(t *testing.T) {
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
			play(t, nil, serveOn(path)...).oneLine(t, 1, c.want)
			unchanged(t, dir, before)
		})
	}
	t.Run("in no folder", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "none", "orderflow.db")
		play(t, nil, serveOn(path)...).oneLine(t, 1, "the folder "+filepath.Dir(path)+" does not exist")
		unchanged(t, dir, nil)
	})
	t.Run("a folder", func(t *testing.T) {
		dir := t.TempDir()
		play(t, nil, serveOn(dir)...).oneLine(t, 1, "Cannot open the database "+dir)
		unchanged(t, dir, nil)
	})
}

// overwrite puts noise into a file.
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

// TestReadOnlyDatabase: neither a file nor a folder that may not be written is served.
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
	play(t, nobody, serveOn(path)...).oneLine(t, 1, "read-only")
	unchanged(t, dir, before)
	for _, name := range []string{path + ".lock", path + "-shm", path + "-wal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	mode(0o666, 0o555)
	play(t, nobody, serveOn(path)...).oneLine(t, 1, "writable")
	unchanged(t, dir, before)
}

// TestWrongSettings ends with 2 and a line; nothing is opened.
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
		v := play(t, nil, append(serveOn(path), c.args...)...)
		v.oneLine(t, 2, c.want)
		if strings.Contains(v.stderr, "secret") {
			t.Errorf("a secret is printed: %s", v.stderr)
		}
	}
	unchanged(t, dir, nil)
}
