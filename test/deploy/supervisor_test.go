package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"orderflow/test/env"
	"orderflow/test/servers"
)

// Supervisor runs two workers as packaged. One that is killed comes back, and both end in order.
func TestSupervisor(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	settings := environment(t, "DATABASE_URL="+env.MySQL(t), "REDIS_URL="+redis, "REDIS_PREFIX="+prefix, realtimeEnv,
		"ORDERFLOW_SIMULATED_SUCCESS=1", "ORDERFLOW_LOG_LEVEL=error")
	seed := exec.CommandContext(t.Context(), binary(t), "seed")
	seed.Env = settings
	if said, err := seed.CombinedOutput(); err != nil {
		t.Fatalf("seed: %v: %s", err, said)
	}
	dir, base := env.Folder(t), freePorts(t)
	program := write(t, dir, "orderflow-worker.conf", changed(t, read(t, "deploy/supervisor/orderflow-worker.conf"),
		"0.0.0.0:910%(process_num)d", fmt.Sprintf("127.0.0.1:%d%%(process_num)d", base/10)))
	conf := write(t, dir, "supervisord.conf", changed(t, read(t, "deploy/supervisor/supervisord.conf"),
		"/tmp/supervisord.pid", filepath.Join(dir, "pid"), "/tmp/supervisor.sock", filepath.Join(dir, "sock"),
		"/etc/orderflow/orderflow-worker.conf", program))
	path, err := exec.LookPath("supervisord")
	if err != nil {
		t.Fatal("scripts/test-deps.sh installs supervisord: ", err)
	}
	supervisor := start(t, settings, path, "-c", conf)
	for n := 1; n <= 2; n++ {
		env.EventuallyNil(t, "a worker is ready", func() error { return ready(t.Context(), base+n) })
	}
	victim := pidOf(t.Context(), t, conf, 1)
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.EventuallyNil(t, "the worker is back", func() error {
		if pid := pidOf(t.Context(), t, conf, 1); pid == victim || pid == 0 {
			return errors.New("it is not there")
		}
		return ready(t.Context(), base+1)
	})
	api := serve(t, settings, "--roles", "api", "--rate-limit", "off")
	client := from(t, "127.0.0.1")
	id, _ := placed(t, client, api.addr, "supervised")
	env.EventuallyNil(t, "the order is paid", func() error {
		got := ask(t, client, http.MethodGet, fmt.Sprintf("http://%s/api/v1/orders/%d", api.addr, id), "")
		if !strings.Contains(got.text, `"PAID"`) {
			return errors.New(got.text)
		}
		return nil
	})
	if err := supervisor.Stop(syscall.SIGTERM); err != nil {
		t.Errorf("supervisord ended with %v", err)
	}
	for n := 1; n <= 2; n++ {
		if ready(t.Context(), base+n) == nil {
			t.Errorf("worker %d is still there", n)
		}
	}
}

// freePorts returns a port that ends in 0 and before nine others, the first two of which are free.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		port, err := servers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		base := port / 10 * 10
		if free(t, base+1) && free(t, base+2) {
			return base
		}
	}
	t.Fatal("there are no free ports")
	return 0
}

func free(t *testing.T, port int) bool {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// ready asks the process at a port whether it is ready.
func ready(ctx context.Context, port int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", port), nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.Join(errors.New(response.Status), response.Body.Close())
	}
	return response.Body.Close()
}

// pidOf asks Supervisor for the process of a worker; 0 when there is none at the moment.
func pidOf(ctx context.Context, t *testing.T, conf string, n int) int {
	t.Helper()
	said, err := exec.CommandContext(ctx, "supervisorctl", "-c", conf, "pid", fmt.Sprintf("orderflow-worker:orderflow-worker-%d", n)).Output()
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		t.Fatalf("supervisorctl says %q", said)
	}
	return pid
}
