package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"orderflow/test/env"
)

// repository is the root of the repository, seen from this package.
const repository = "../.."

func TestMain(m *testing.M) { os.Exit(env.Run(m)) }

// binary returns the path of the product, built as a release is.
func binary(t *testing.T) string {
	t.Helper()
	return env.Product(t, "-trimpath", "-ldflags", "-s -w")
}

// environment has no settings but those given.
func environment(t *testing.T, settings ...string) []string {
	t.Helper()
	return append([]string{"PATH=" + filepath.Dir(binary(t)) + ":" + os.Getenv("PATH") + ":/usr/sbin", "HOME=" + env.SharedFolder(t)}, settings...)
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// changed returns a text with each old replaced by its new. An old that is not there fails the test: what is tested
// would no longer be what is packaged.
func changed(t *testing.T, text string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("there is no %q any more in:\n%s", oldnew[i], text)
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text
}

// write writes a file into a folder and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a process, which is killed when the test ends. A test that fails shows its log.
func start(t *testing.T, environ []string, path string, args ...string) *env.Process {
	t.Helper()
	command := exec.Command(path, args...)
	command.Env = environ
	p := env.StartProcess(t, command)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(path), p.Log)
		}
	})
	return p
}

// server is a running process of the product.
type server struct {
	*env.Process
	addr    string // HTTP
	sockets string // WebSockets; "" without the role realtime
}

// serve starts a server and waits until it is ready.
func serve(t *testing.T, environ []string, args ...string) *server {
	t.Helper()
	return serveBinary(t, binary(t), environ, args...)
}

// serveBinary is serve with another binary.
func serveBinary(t *testing.T, path string, environ []string, args ...string) *server {
	t.Helper()
	args = append([]string{"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--log-level", "error"}, args...)
	s := &server{Process: start(t, environ, path, args...)}
	var err error
	if s.addr, err = s.Ready(); err != nil {
		t.Fatal(err)
	}
	s.sockets, _, _ = strings.Cut(s.Log.After("WebSockets  ws://"), "/")
	return s
}

// signal sends a signal to a server.
func signal(t *testing.T, s *server, signal syscall.Signal) {
	t.Helper()
	if err := s.Signal(signal); err != nil {
		t.Fatal(err)
	}
}
