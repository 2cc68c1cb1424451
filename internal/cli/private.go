package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/bench"
	"orderflow/internal/config"
)

// Bounds of removing what a private server leaves.
const (
	removeWithin = 2 * time.Minute // for all of it
	removeTries  = 3               // for a database, and for keys in Redis
	removePause  = time.Second     // between two tries
)

// stores are where private servers keep their data, each in a place of its own there.
type stores struct {
	database config.URL // a MySQL server; any other stands for SQLite, in a temporary folder
	redis    config.URL // the zero URL for none
}

// private is a private server: its data, the way there and its processes. undo has what ends them, in the order in which
// they were made.
type private struct {
	data     config.Settings // where the data are
	environ  []string        // what the processes are told of it
	children []*child
	meter    meter
	undo     []func(ctx context.Context) error
}

// start starts this binary as a private server: on free loopback ports, over a new database, with logs and metrics on and
// the rate limit off. It is a bench.Starter.
func (s stores) start(ctx context.Context, want bench.Server) (running bench.Running, err error) {
	p := &private{data: config.Defaults()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop(context.WithoutCancel(ctx)))
		}
	}()
	args := []string{"noop"}
	if !want.Noop {
		args = serveArgs(want)
		if err := p.settle(ctx, s, want); err != nil {
			return running, err
		}
	}
	running = bench.Running{Spawned: time.Now(), Stop: p.stop}
	for range max(1, want.Processes) {
		url, err := p.spawn(ctx, args)
		if err != nil {
			return running, err
		}
		running.URLs = append(running.URLs, url)
	}
	running.CPU, running.Counted = p.meter.read, "server process"
	if !want.Noop {
		running.Counted = p.count()
		books := books{p.data}
		running.Audit, running.Verify, running.Sweep = books.audit, books.verify, books.sweep
	}
	running.Memory = func() (int64, error) { return bench.ProcessMemory(p.children[0].command.Process.Pid) }
	return running, nil
}

// settle finds a place for the data, fills it, and opens the way there.
func (p *private) settle(ctx context.Context, s stores, want bench.Server) error {
	name := "orderflow_bench_" + strings.ToLower(rand.Text()[:12])
	if s.database.MySQL() {
		p.data.Database = s.database.Named(name)
	} else {
		folder, err := os.MkdirTemp("", "orderflow-")
		if err != nil {
			return err
		}
		p.undo = append(p.undo, func(context.Context) error { return os.RemoveAll(folder) })
		p.data.Database = config.NewURL("sqlite:" + filepath.Join(folder, "orderflow.db"))
	}
	if s.redis != (config.URL{}) {
		p.data.Redis, p.data.RedisPrefix = s.redis, name+":"
		p.undo = append(p.undo, retried(func(ctx context.Context) error { return app.DeleteRedisKeys(ctx, p.data) }))
	}
	if err := p.prepare(ctx, want); err != nil {
		return err
	}
	database, redis := p.data.Database, p.data.Redis
	if want.Forwarded {
		var err1, err2 error
		database, err1 = p.forward(ctx, database, want.Delay)
		redis, err2 = p.forward(ctx, redis, want.Delay)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	// In the environment, where other users of the machine do not see the passwords.
	p.environ = []string{"DATABASE_URL=" + database.Reveal(), "REDIS_URL=" + redis.Reveal(), "REDIS_PREFIX=" + p.data.RedisPrefix}
	return nil
}

// forward puts a delay before a server.
func (p *private) forward(ctx context.Context, to config.URL, delay time.Duration) (config.URL, error) {
	if !to.Single() {
		return to, fmt.Errorf("the way to %s cannot be made longer: it is not one server", to)
	}
	forwarder, err := bench.Forward(ctx, to.Hosts()[0], delay)
	if err != nil {
		return to, err
	}
	p.undo = append(p.undo, func(context.Context) error { return forwarder.Close() })
	return to.At(forwarder.Addr()), nil
}

// spawn starts one process and returns where it listens.
func (p *private) spawn(ctx context.Context, args []string) (url string, err error) {
	binary, err := os.Executable()
	if err != nil {
		return "", err
	}
	child, err := spawn(binary, args, p.environ)
	if err != nil {
		return "", err
	}
	p.children = append(p.children, child)
	p.undo = append(p.undo, child.stop)
	p.meter.pids = append(p.meter.pids, child.command.Process.Pid)
	return child.ready(ctx)
}

// count adds the servers that the data are on to what is metered, and says whose processor time it is then.
func (p *private) count() string {
	urls := slices.DeleteFunc([]config.URL{p.data.Database, p.data.Redis}, func(u config.URL) bool { return len(u.Hosts()) == 0 })
	if len(urls) == 0 {
		return "server process"
	}
	all := p.meter
	for _, u := range urls {
		if !u.Single() || all.add(u.Hosts()[0]) != nil {
			return "server alone: its database and Redis cannot be seen from here"
		}
	}
	p.meter = all
	return "server, " + strings.Join(all.names, ", ")
}

// stop ends the processes and removes what they leave.
func (p *private) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeWithin)
	defer cancel()
	var errs []error
	for _, undo := range slices.Backward(p.undo) {
		errs = append(errs, undo(ctx))
	}
	p.undo = nil
	return errors.Join(errs...)
}

// retried tries a removal again that fails: a server on a busy machine may not answer in time, and nobody else removes what is
// left.
func retried(remove func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		for try := 1; ; try++ {
			err := remove(ctx)
			if err == nil || try == removeTries {
				return err
			}
			pause := time.NewTimer(removePause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return err
			}
		}
	}
}

// prepare makes and fills the database before the server starts.
func (p *private) prepare(ctx context.Context, want bench.Server) error {
	opened := false
	drop := func(ctx context.Context) error {
		err := withDatabase(ctx, p.data, func(db *app.Database) error { return db.Drop(ctx) })
		if !opened {
			return nil // it may not be there at all
		}
		return err
	}
	if p.data.Database.MySQL() {
		p.undo = append(p.undo, retried(drop))
	}
	return withNewDatabase(ctx, p.data, func(db *app.Database) error {
		opened = true
		if err := db.Migrate(ctx); err != nil {
			return err
		}
		return db.Seed(ctx, app.SeedPlan{
			Products: int64(want.Products), Orders: want.Orders, SetStock: want.Stock > 0, Stock: want.Stock,
		})
	})
}

func serveArgs(want bench.Server) []string {
	verb := "serve"
	if want.Unbatched != "" {
		verb = "unbatched"
	}
	args := []string{verb, "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--rate-limit", "off", "--log-format", "json"}
	if want.Roles != "" {
		args = append(args, "--roles", want.Roles)
	}
	if want.Unbatched == bench.ProductLocks {
		args = append(args, "--product-locks")
	}
	if want.InstantGateway {
		args = append(args, "--simulated-latency", "0", "--simulated-success", "1")
	}
	return args
}

// meter reads the processor time of processes.
type meter struct {
	pids  []int
	names []string // of those that were added by address, each once
}

// add adds the process that listens on an address of this machine.
func (m *meter) add(address string) error {
	pid, name, err := bench.Listener(address)
	if err != nil {
		return err
	}
	if !slices.Contains(m.pids, pid) {
		m.pids = append(slices.Clip(m.pids), pid)
	}
	if !slices.Contains(m.names, name) {
		m.names = append(slices.Clip(m.names), name)
	}
	return nil
}

func (m *meter) read() (sum time.Duration, err error) {
	for _, pid := range m.pids {
		used, err := bench.ProcessCPU(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}
