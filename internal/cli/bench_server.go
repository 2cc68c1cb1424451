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

// Bounds of the removal of a private server's data.
const (
	removeTimeout = 2 * time.Minute // in all
	removeTries   = 3               // for a database, and for keys in Redis
	removePause   = time.Second     // between two tries
)

// stores are the database server and the Redis of private servers, each of which has a database and a key prefix of its own there.
type stores struct {
	database config.URL // on a server; any other URL stands for SQLite in a temporary folder
	redis    config.URL // the zero URL for none
}

// benchServer is a private server: its data and its processes. cleanup has the functions that remove them, in the order in which
// they were created.
type benchServer struct {
	data      config.Settings // database, Redis and key prefix
	environ   []string        // the same, for the processes
	processes []*bench.Process
	cpu       cpuMeter
	cleanup   []func(ctx context.Context) error
}

// start starts this binary as a private server: on free loopback ports, over a new database, with logs and metrics on and
// the rate limit off. It is a bench.Starter.
func (s stores) start(ctx context.Context, want bench.Server) (running bench.Running, err error) {
	server := &benchServer{data: config.Defaults()}
	defer func() {
		if err != nil {
			err = errors.Join(err, server.stop(context.WithoutCancel(ctx)))
		}
	}()
	args := []string{"noop"}
	if !want.Noop {
		args = serveArgs(want)
		if err := server.createData(ctx, s, want); err != nil {
			return running, err
		}
	}
	running = bench.Running{Spawned: time.Now(), Stop: server.stop}
	for range max(1, want.Processes) {
		process, err := server.spawn(ctx, args)
		if err != nil {
			return running, err
		}
		running.URLs = append(running.URLs, process.URL)
	}
	running.CPU, running.Counted = server.cpu.read, "server process"
	if !want.Noop {
		running.Counted = server.meterStores()
		db := auditedDatabase{server.data}
		running.Audit, running.Verify, running.Sweep = db.audit, db.verify, db.sweep
	}
	running.Memory = func() (int64, error) { return bench.ProcessMemory(server.processes[0].PID()) }
	return running, nil
}

// createData creates and fills the database, and opens the delay proxies.
func (b *benchServer) createData(ctx context.Context, s stores, want bench.Server) error {
	name := "orderflow_bench_" + strings.ToLower(rand.Text()[:12])
	if s.database.OnServer() {
		b.data.Database = s.database.Named(name)
	} else {
		folder, err := os.MkdirTemp("", "orderflow-")
		if err != nil {
			return err
		}
		b.cleanup = append(b.cleanup, func(context.Context) error { return os.RemoveAll(folder) })
		b.data.Database = config.NewURL("sqlite:" + filepath.Join(folder, "orderflow.db"))
	}
	if s.redis != (config.URL{}) {
		b.data.Redis, b.data.RedisPrefix = s.redis, name+":"
		b.cleanup = append(b.cleanup, retried(func(ctx context.Context) error { return app.DeleteRedisKeys(ctx, b.data) }))
	}
	if err := b.createDatabase(ctx, want); err != nil {
		return err
	}
	database, redis := b.data.Database, b.data.Redis
	if want.Proxied {
		var err1, err2 error
		database, err1 = b.delay(ctx, database, want.Delay)
		redis, err2 = b.delay(ctx, redis, want.Delay)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	// Other users of the machine can read flags, but not the environment.
	b.environ = []string{"DATABASE_URL=" + database.Reveal(), "REDIS_URL=" + redis.Reveal(), "REDIS_PREFIX=" + b.data.RedisPrefix}
	return nil
}

// delay puts a proxy with a delay before a server.
func (b *benchServer) delay(ctx context.Context, to config.URL, delay time.Duration) (config.URL, error) {
	if !to.Single() {
		return to, fmt.Errorf("no delay can be added to %s: it is not a single server", to)
	}
	proxy, err := bench.NewDelayProxy(ctx, to.Hosts()[0], delay)
	if err != nil {
		return to, err
	}
	b.cleanup = append(b.cleanup, func(context.Context) error { return proxy.Close() })
	return to.At(proxy.Addr()), nil
}

// spawn starts one process.
func (b *benchServer) spawn(ctx context.Context, args []string) (*bench.Process, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process, err := bench.StartProcess(ctx, binary, args, append(config.Without(os.Environ()), b.environ...))
	if err != nil {
		return nil, fmt.Errorf("the private server: %w", err)
	}
	b.processes = append(b.processes, process)
	b.cleanup = append(b.cleanup, process.Stop)
	b.cpu.pids = append(b.cpu.pids, process.PID())
	return process, nil
}

// meterStores adds the servers of the data to the metered processes, and returns what the processor time includes.
func (b *benchServer) meterStores() string {
	urls := slices.DeleteFunc([]config.URL{b.data.Database, b.data.Redis}, func(u config.URL) bool { return len(u.Hosts()) == 0 })
	if len(urls) == 0 {
		return "server process"
	}
	all := b.cpu
	for _, u := range urls {
		if !u.Single() || all.add(u.Hosts()[0]) != nil {
			return "server alone: its database and Redis are not visible from here"
		}
	}
	b.cpu = all
	return "server, " + strings.Join(all.names, ", ")
}

// stop ends the processes and removes their data.
func (b *benchServer) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	var errs []error
	for _, remove := range slices.Backward(b.cleanup) {
		errs = append(errs, remove(ctx))
	}
	b.cleanup = nil
	return errors.Join(errs...)
}

// retried repeats a removal that fails: a server on a busy machine may answer too late, and nothing else removes the rest.
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

// createDatabase creates, migrates and fills the database.
func (b *benchServer) createDatabase(ctx context.Context, want bench.Server) error {
	created := false
	drop := func(ctx context.Context) error {
		err := withDatabase(ctx, b.data, func(db *app.Database) error { return db.Drop(ctx) })
		if !created {
			return nil // it may not exist
		}
		return err
	}
	if b.data.Database.OnServer() {
		b.cleanup = append(b.cleanup, retried(drop))
	}
	return withNewDatabase(ctx, b.data, func(db *app.Database) error {
		created = true
		if err := db.Migrate(ctx); err != nil {
			return err
		}
		return db.Seed(ctx, app.SeedPlan{
			Products: int64(want.Products), Orders: want.Orders, SetStock: want.Stock > 0, Stock: want.Stock,
		})
	})
}

func serveArgs(want bench.Server) []string {
	command := "serve"
	if want.Unbatched != "" {
		command = "unbatched"
	}
	args := []string{command, "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--rate-limit", "off", "--log-format", "json"}
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

// auditedDatabase is a database that is audited after a load.
type auditedDatabase struct{ settings config.Settings }

func newAuditedDatabase(store config.Store, shared config.Shared) auditedDatabase {
	settings := databaseSettings(store)
	settings.Shared = shared
	return auditedDatabase{settings}
}

func (d auditedDatabase) open(ctx context.Context, work func(*app.Database) error) error {
	return withSchema(ctx, d.settings, work)
}

// audit verifies the invariants.
func (d auditedDatabase) audit(ctx context.Context) (text string, holds bool, err error) {
	err = d.open(ctx, func(db *app.Database) error {
		text, holds, err = db.AuditText(ctx)
		return err
	})
	return text, holds, err
}

// verify returns an error unless every order exists.
func (d auditedDatabase) verify(ctx context.Context, ids []int64) error {
	return d.open(ctx, func(db *app.Database) error { return db.VerifyOrders(ctx, ids) })
}

// sweep runs the sweeper's query for due orders and returns how long each run took.
func (d auditedDatabase) sweep(ctx context.Context, times int) (took []time.Duration, err error) {
	err = d.open(ctx, func(db *app.Database) error {
		for range times {
			began := time.Now()
			if _, err := db.DueOrders(ctx, d.settings.WorkerConcurrency); err != nil {
				return err
			}
			took = append(took, time.Since(began))
		}
		return nil
	})
	return took, err
}

// cpuMeter reads the processor time of processes.
type cpuMeter struct {
	pids  []int
	names []string // of the processes that were added by address, each once
}

// add adds the process that listens on an address of this machine.
func (m *cpuMeter) add(address string) error {
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

func (m *cpuMeter) read() (sum time.Duration, err error) {
	for _, pid := range m.pids {
		used, err := bench.ProcessCPU(pid)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}
