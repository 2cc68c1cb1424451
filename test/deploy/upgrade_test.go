package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"orderflow/test/env"
)

// TestRollingUpgrade replaces every process of a running installation by one of another release, one after the other, as
// docs/operations/upgrade.md says, while customers order by nginx. Not one request fails, and none of what they were told is wrong.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	settings := environment(t, "DATABASE_URL="+env.MySQL(t), "REDIS_URL="+redis, "REDIS_PREFIX="+prefix, "DATABASE_POOL=8",
		"ORDERFLOW_RATE_LIMIT=off", "ORDERFLOW_SIMULATED_LATENCY=1ms-20ms", realtimeEnv)
	runCommand(t, settings, binary(t), "seed", "--stock", "10000000")

	// Addresses that nobody else takes a port of, so that each is still free when its process comes back.
	delay := regexp.MustCompile(`ORDERFLOW_DRAIN_DELAY=(\w+)`).FindStringSubmatch(read(t, "deploy/systemd/orderflow@.service"))
	nodes := []*upgradedServer{{role: "api", host: "127.0.7.1"}, {role: "api", host: "127.0.7.2"}, {role: "worker", host: "127.0.7.3"}}
	for _, n := range nodes {
		n.args = []string{"--roles", n.role, "--addr", n.host + ":0"}
		if n.role == "api" {
			n.args = append(n.args, "--drain-delay", delay[1])
		}
		n.server = serve(t, settings, n.args...)
		n.args = append(n.args, "--addr", n.addr)
	}
	newer := nextRelease(t)
	addr := nginx(t, strings.ReplaceAll(packagedAPI, "app:8000", nodes[0].addr)+strings.ReplaceAll(packagedAPI, "app:8000", nodes[1].addr), upstream(nobody))
	customers := startClients(t, addr, 6)
	for _, n := range nodes {
		customers.awaitRequests(t, 30, "before the "+n.role+" at "+n.host)
		if err := n.Stop(syscall.SIGTERM); err != nil {
			t.Errorf("the %s at %s ended with %v: %s", n.role, n.host, err, n.Log)
		}
		customers.awaitRequests(t, 30, "without the "+n.role+" at "+n.host)
		n.server = serveBinary(t, newer, settings, n.args...)
		runCommand(t, settings, newer, "health", "--url", "http://"+n.addr)
	}
	customers.awaitRequests(t, 30, "at the newer release")
	placed := customers.stop()

	client := from(t, "127.0.0.1")
	for _, n := range nodes {
		if got := ask(t, client, http.MethodGet, "http://"+n.addr+"/metrics", ""); !strings.Contains(got.text, `version="`+nextVersion+`"`) {
			t.Errorf("the %s at %s is not of the newer release", n.role, n.host)
		}
	}
	if report := strings.ReplaceAll(runCommand(t, settings, newer, "audit"), ",", ""); !strings.Contains(report, fmt.Sprintf("orders %d ", placed)) {
		t.Errorf("%d orders were acknowledged:\n%s", placed, report)
	}
	t.Logf("%d orders", placed)
}

// replaced is a process that is replaced.
type upgradedServer struct {
	*server

	role, host string
	args       []string
}

const nextVersion = "9.9.9-next"

// nextRelease builds the product as of another release.
func nextRelease(t *testing.T) (path string) {
	t.Helper()
	return env.Product(t, "-trimpath", "-ldflags", "-s -w -X main.version="+nextVersion)
}

// tell runs a verb, which must succeed, and returns what it printed.
func runCommand(t *testing.T, env []string, path string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), path, args...)
	command.Env = env
	said, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("orderflow %s: %v: %s", strings.Join(args, " "), err, said)
	}
	return string(said)
}

// customers order, look and cancel, one thing after the other, and never ask twice.
type clients struct {
	done atomic.Int64 // exchanges that were as they should be
	made atomic.Int64 // orders
	stop func() int64 // ends them and returns how many orders they made
}

// queue sets customers to work at an address.
func startClients(t *testing.T, addr string, n int) *clients {
	t.Helper()
	c, stop := &clients{}, make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		client := from(t, "127.0.0.1")
		all.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.buy(client, "http://"+addr+"/api/v1", fmt.Sprintf("c%d-%d", i, round), round%4 == 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	c.stop = sync.OnceValue(func() int64 {
		close(stop)
		all.Wait()
		return c.made.Load()
	})
	t.Cleanup(func() { c.stop() })
	return c
}

// buy orders, looks at the order and the products, and may try to cancel.
func (c *clients) buy(client *http.Client, base, key string, cancel bool) error {
	text, err := c.expect(client, http.MethodPost, base+"/orders",
		fmt.Sprintf(`{"user_id":1,"idempotency_key":%q,"items":[{"product_id":2,"quantity":1}]}`, key), http.StatusCreated, http.StatusOK)
	if err != nil {
		return err
	}
	var order struct {
		Data struct {
			ID  int64
			Key string `json:"idempotency_key"`
		}
	}
	if err := json.Unmarshal(text, &order); err != nil || order.Data.Key != key {
		return fmt.Errorf("order %s: %w: %s", key, err, text)
	}
	c.made.Add(1)
	place := fmt.Sprintf("%s/orders/%d", base, order.Data.ID)
	if _, err := c.expect(client, http.MethodGet, place, "", http.StatusOK); err != nil {
		return err
	}
	if cancel { // which may be too late
		if _, err := c.expect(client, http.MethodPost, place+"/cancel", "", http.StatusOK, http.StatusUnprocessableEntity); err != nil {
			return err
		}
	}
	_, err = c.expect(client, http.MethodGet, base+"/products", "", http.StatusOK)
	return err
}

// expect sends a request once and wants one of these answers.
func (c *clients) expect(client *http.Client, method, address, body string, statuses ...int) ([]byte, error) {
	request, err := http.NewRequest(method, address, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	request.GetBody = nil // so that the client does not try again by itself
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it is read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, address, err)
	}
	if !slices.Contains(statuses, response.StatusCode) {
		return nil, fmt.Errorf("%s %s: %d: %s", method, address, response.StatusCode, text)
	}
	c.done.Add(1)
	return text, nil
}

// served waits until so many more requests are answered.
func (c *clients) awaitRequests(t *testing.T, n int64, when string) {
	t.Helper()
	before := c.done.Load()
	env.EventuallyNil(t, fmt.Sprintf("%d requests are served %s", n, when), func() error {
		if more := c.done.Load() - before; more < n && !t.Failed() {
			return fmt.Errorf("%d requests were served", more)
		}
		return nil
	})
}
