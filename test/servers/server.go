package servers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = time.Minute            // from the start to the first answer; recovery after a kill included
	stopWithin  = 20 * time.Second       // from SIGTERM to SIGKILL
	readyPause  = 20 * time.Millisecond  // between two looks
	answerWait  = 500 * time.Millisecond // for the answer to one look
)

// Server is one child process. Its methods are for one goroutine at a time.
type Server struct {
	name string
	path string   // of the binary
	args []string // all of them
	dir  string   // its data and its log
	port int
	user *syscall.Credential // nil for this process's
	wait time.Duration       // from a start to the first answer; 0 for readyWithin

	// answers returns nil when the server at the other end does.
	answers func(conn net.Conn) error

	stop    syscall.Signal // by which it stops in order; 0 for SIGTERM
	workers bool           // it works in child processes, which a signal to it does not reach

	command *exec.Cmd
	ended   chan struct{} // closed when the process is gone
}

// Addr is where the server listens, HOST:PORT; it stays the same over restarts.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Dir is the server's folder.
func (s *Server) Dir() string { return s.dir }

// Start starts the server, for the first time or again, and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	s.command = exec.Command(s.path, s.args...)
	s.command.Dir, s.command.Stdout, s.command.Stderr = s.dir, log, log
	s.command.SysProcAttr = attributes(s.user)
	if err := s.command.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	s.ended = ended
	command := s.command
	go func() {
		_ = command.Wait() // how it ended is seen by its log
		close(ended)
	}()
	return s.await(ctx)
}

// await waits until the server answers.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.wait, readyWithin))
	defer cancel()
	tick := time.NewTicker(readyPause)
	defer tick.Stop()
	for {
		err := s.look(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("%s ended before it answered; its log says:\n%s", s.name, s.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w; its log says:\n%s", s.name, err, s.Log()), s.Kill())
		}
	}
}

func (s *Server) look(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: answerWait}).DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it was only looked at
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return err
	}
	return s.answers(conn)
}

// Kill is kill -9; it returns when the process is gone. A server that does not run is none.
func (s *Server) Kill() error {
	workers := s.children()
	err := s.end(syscall.SIGKILL)
	for _, worker := range workers {
		err = errors.Join(err, worker.kill())
	}
	return err
}

// Stop ends the server in order; it returns when the process is gone. A server that does not run is none.
func (s *Server) Stop() error { return s.end(cmp.Or(s.stop, syscall.SIGTERM)) }

// Freeze stops the process where it is: connections stay open and nothing answers, until Thaw.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) error {
	err := s.command.Process.Signal(signal)
	for _, worker := range s.children() {
		_ = syscall.Kill(int(worker), signal) // it may have ended by itself
	}
	return err
}

// process is the number of a child of a server.
type process int

// kill ends a process and waits until it is gone.
func (p process) kill() error {
	tick := time.NewTicker(readyPause)
	defer tick.Stop()
	for deadline := time.Now().Add(stopWithin); ; <-tick.C {
		switch err := syscall.Kill(int(p), syscall.SIGKILL); {
		case errors.Is(err, syscall.ESRCH):
			return nil
		case err != nil:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("process %d did not end within %s", p, stopWithin)
		}
	}
}

// children are the processes that a server with workers has started. They are found by ps, which every system has.
func (s *Server) children() (found []process) {
	if !s.workers || s.command == nil || s.command.Process == nil {
		return nil
	}
	text, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil && parent == s.command.Process.Pid {
			found = append(found, process(pid))
		}
	}
	return found
}

func (s *Server) end(signal syscall.Signal) error {
	if s.command == nil || s.command.Process == nil {
		return nil
	}
	if err := s.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = s.Thaw() // a frozen process heeds SIGKILL alone
	limit := time.NewTimer(stopWithin)
	defer limit.Stop()
	select {
	case <-s.ended:
		return nil
	case <-limit.C:
	}
	err := s.command.Process.Kill()
	<-s.ended
	return errors.Join(fmt.Errorf("%s did not stop within %s", s.name, stopWithin), err)
}

func (s *Server) logPath() string { return filepath.Join(s.dir, "log") }

// Log is the end of what the server has logged.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8<<10):])
}

// Folder makes a folder that servers of other users can reach, in the system's place for temporary files. Remove it
// after its servers have ended.
func Folder() (string, error) {
	dir, err := os.MkdirTemp("", "orderflow-servers-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// FreePort returns a loopback port that nobody listens on now.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// find returns the path of a server's binary, or says what to install.
func find(binary, packages string) (string, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, binary)); err == nil {
				return path, nil
			}
		}
		return "", missing(binary, packages)
	}
	return path, nil
}

func missing(what, packages string) error {
	return fmt.Errorf("%s is not installed; scripts/test-deps.sh cluster installs all that tests need, or as root: apt-get install %s",
		what, packages)
}
