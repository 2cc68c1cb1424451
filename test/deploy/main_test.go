package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"orderflow/test/env"
)

// patience bounds every wait. Nothing takes that long unless it is broken.
const patience = 30 * time.Second

// repository is the root of the repository, seen from this package.
const repository = "../.."

// folder is where the binary is built. Everybody may look into it: nginx reads its configuration as nobody.
var folder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "orderflow-deploy")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder = dir
	code := env.Run(m)
	_ = os.RemoveAll(dir) // what is left is the system's to clear away
	os.Exit(code)
}

// binary is the path of the product, built when it is first wanted.
func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "orderflow")
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "orderflow/cmd/orderflow")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
})

// environment has no settings but those given.
func environment(t *testing.T, settings ...string) []string {
	t.Helper()
	return append([]string{"PATH=" + filepath.Dir(binary(t)) + ":" + os.Getenv("PATH") + ":/usr/sbin", "HOME=" + folder}, settings...)
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

// eventually waits until a condition holds; what says why it does not yet.
func eventually(t *testing.T, what string, holds func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// process is a child, and all that it started.
type process struct {
	command *exec.Cmd
	out     *lines
	ended   chan struct{} // closed when it is gone
	err     error         // read it after ended
}

// start starts a process, which is ended with the test at the latest.
func start(t *testing.T, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{command: exec.Command(path, args...), out: &lines{}, ended: make(chan struct{})}
	p.command.Env, p.command.Stdout, p.command.Stderr = env, p.out, p.out
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.command.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) // it may be gone
		<-p.ended
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(path), p.out)
		}
	})
	return p
}

// signal sends a signal to the process.
func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// stop asks the process to end and returns how it did.
func (p *process) stop(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	p.signal(t, signal)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-timer.C:
		t.Fatalf("it did not end: %s", p.out)
		return nil
	}
}

// lines is what a process says.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// after returns what follows a text in a line of its own, and "" when that is not there yet.
func (l *lines) after(text string) string {
	_, rest, _ := strings.Cut(l.String(), text)
	line, _, whole := strings.Cut(rest, "\n")
	if !whole {
		return ""
	}
	return line
}

// server is a running process of the product.
type server struct {
	*process
	addr    string // HTTP
	sockets string // WebSockets; "" without the role realtime
}

// serve starts a server and waits until it is ready.
func serve(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	return serveBy(t, binary(t), env, args...)
}

// serveBy is serve with another binary.
func serveBy(t *testing.T, path string, env []string, args ...string) *server {
	t.Helper()
	args = append([]string{"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--log-level", "error"}, args...)
	s := &server{process: start(t, env, path, args...)}
	eventually(t, "the server is ready", func(context.Context) error {
		select {
		case <-s.ended:
			t.Fatalf("it ended: %v: %s", s.err, s.out)
		default:
		}
		if s.addr = s.out.after(" is ready on http://"); s.addr == "" {
			return errors.New(s.out.String())
		}
		return nil
	})
	if where := s.out.after("WebSockets  ws://"); where != "" {
		s.sockets, _, _ = strings.Cut(where, "/")
	}
	return s
}
