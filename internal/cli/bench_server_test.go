package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/bench"
	"orderflow/internal/config"
	"orderflow/test/env"
)

// benchOn returns the command of a load on private servers over a MySQL server and a Redis, and a function that fails the test when the load
// left data there.
func benchOn(t *testing.T, args ...string) (command *exec.Cmd, clean func()) {
	t.Helper()
	database := env.MySQL(t)
	redis, _ := env.Redis(t)
	command = exec.CommandContext(t.Context(), binary(), append([]string{"bench", "--clients", "16"}, args...)...)
	command.Env = append(withoutSettings(os.Environ()), "DATABASE_URL="+database, "REDIS_URL="+redis, "TMPDIR="+t.TempDir())
	return command, func() {
		t.Helper()
		var left int
		err := env.Admin(t, database).QueryRowContext(t.Context(),
			"SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 'orderflow\\_bench\\_%'").Scan(&left)
		if err != nil || left != 0 {
			t.Errorf("%d databases are left behind, %v", left, err)
		}
		if keys := ask(t, redis, "KEYS orderflow_bench_*"); keys != "*0" {
			t.Errorf("keys are left behind in Redis: %q", keys)
		}
	}
}

// reportOf runs a load and returns its report, parsed and as printed.
func reportOf(t *testing.T, command *exec.Cmd) (report bench.Report, out []byte) {
	t.Helper()
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	return report, out
}

// ask sends Redis a command and returns the first line of its answer.
func ask(t *testing.T, redis, command string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", config.NewURL(redis).Hosts()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // after the answer, or the test fails
	if err := errors.Join(conn.SetDeadline(time.Now().Add(env.Patience)), write(conn, command+"\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func write(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// Private servers over MySQL and Redis: the audit runs, the processor time includes the stores, several processes share the load, and the data
// is removed.
func TestBenchOnSharedStores(t *testing.T) {
	command, clean := benchOn(t, "--duration", "600ms", "--products", "4", "--lines", "2", "--servers", "2", "--pipeline", "--json")
	report, out := reportOf(t, command)
	ours := report.Servers[0]
	if report.Store != "MySQL and Redis" || report.Lines != 2 || ours.Audit == nil || !ours.Audit.Audited || !ours.Audit.Verified {
		t.Errorf("%s", out)
	}
	if len(ours.Processes) != 2 || ours.Processes[0].Orders+ours.Processes[1].Orders != ours.Orders || ours.Processes[1].Orders == 0 {
		t.Errorf("the processes' orders are %+v, of %d", ours.Processes, ours.Orders)
	}
	if ours.ServerCPU == nil || !strings.Contains(ours.ServerCPUOf, "server, ") || !strings.Contains(ours.ServerCPUOf, "redis-server") {
		t.Errorf("the processor time includes %q", ours.ServerCPUOf)
	}
	clean()
}

// A removal that fails is retried a limited number of times.
func TestRemovalIsRetried(t *testing.T) {
	for name, test := range map[string]struct {
		failures, tries int
		fails           bool
	}{
		"works":        {0, 1, false},
		"fails once":   {1, 2, false},
		"always fails": {removeTries, removeTries, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				err := retried(func(context.Context) error {
					if tries++; tries <= test.failures {
						return context.DeadlineExceeded
					}
					return nil
				})(t.Context())
				if (err != nil) != test.fails {
					t.Errorf("the error is %v", err)
				}
				if tries != test.tries {
					t.Errorf("%d tries, want %d", tries, test.tries)
				}
			})
		})
	}
}

// Over MySQL and Redis the unbatched server is measured with and without product locks, and the orders of both are audited.
func TestBenchComparesOnSharedStores(t *testing.T) {
	command, clean := benchOn(t, "--duration", "600ms", "--products", "4", "--lines", "2", "--servers", "2", "--compare", "--json")
	report, _ := reportOf(t, command)
	var names []string
	for _, server := range report.Servers {
		names = append(names, server.Name)
		if server.Orders == 0 {
			t.Errorf("%s: no orders", server.Name)
		}
		if server.Audit == nil || !server.Audit.Audited || !server.Audit.Verified {
			t.Errorf("%s: %+v", server.Name, server.Audit)
		}
	}
	if want := []string{"Orderflow", "unbatched", "unbatched, Redis lock"}; !slices.Equal(names, want) {
		t.Errorf("servers %q, want %q", names, want)
	}
	if report.Compare == nil || report.Locked == nil {
		t.Errorf("ratios %+v and %+v", report.Compare, report.Locked)
	}
	clean()
}

// An interrupted load removes its data, too.
func TestBenchOnSharedStoresIsInterrupted(t *testing.T) {
	command, clean := benchOn(t, "--duration", "1m")
	stderr := &env.Output{}
	command.Stderr = stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	err := env.Poll(func() error {
		if !strings.Contains(stderr.String(), "round 1 of 1") {
			return errors.New("the load has not begun")
		}
		return nil
	})
	if err != nil {
		t.Errorf("%v: %s", err, stderr.String())
	}
	if err := command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait() // the output is checked
	if !strings.Contains(stderr.String(), "interrupted") || command.ProcessState.ExitCode() != exitFailure {
		t.Errorf("exit code %d: %s", command.ProcessState.ExitCode(), stderr.String())
	}
	if clean(); t.Failed() {
		t.Log(stderr.String())
	}
}
