package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"orderflow/internal/bench"
	"orderflow/test/servers"
)

// turnsEach is the number of turns of each build in a pair. Turns are short and alternate, so that other work on the machine slows
// both builds alike.
const turnsEach = 4

// turnTimeout limits a turn.
const turnTimeout = 2 * time.Minute

// guard is one run.
type guard struct {
	settings
	dir      string
	progress io.Writer
	mariadb  *servers.Server // started with the first load that needs it; the same for both builds
}

// measure measures pairs under a load until there is a verdict or the limit of pairs is reached.
func (g *guard) measure(ctx context.Context, l load) ([]pair, error) {
	var pairs []pair
	for total := []float64{}; !enough(total, g.Pairs, g.Most); total = ratios(pairs, cost.total) {
		began := time.Now()
		p, err := g.pair(ctx, l, len(pairs))
		if err != nil {
			return nil, fmt.Errorf("%s, pair %d: %w", l.name, len(pairs)+1, err)
		}
		pairs = append(pairs, p)
		_, _ = fmt.Fprintf(g.progress, "%s: pair %d, %s in %.1f s\n", l.name, len(pairs),
			percent(ratios(pairs[len(pairs)-1:], cost.total)[0]), time.Since(began).Seconds())
	}
	return pairs, nil
}

// pair measures one pair. Both builds start on new data, have a warm-up turn, and then alternate: A B B A and so on, or B A A B. Each
// pair has new processes: the memory layout differs between processes of one binary, and the interval must include that.
func (g *guard) pair(ctx context.Context, l load, number int) (p pair, err error) {
	dir := filepath.Join(g.dir, "pair")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	shared, err := g.shared(ctx, l, dir)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, shared.stop()) }()
	var sides [2]*side
	for i, build := range []struct{ binary, name string }{{g.Base, "base"}, {g.Work, "work"}} {
		if sides[i], err = start(ctx, build.binary, build.name, dir, l, shared); err != nil {
			return p, err
		}
		defer func() { err = errors.Join(err, sides[i].server.Kill()) }() // its data is deleted
	}
	for turn := range 1 + turnsEach {
		order := [2]int{0, 1}
		if (turn+number)%2 == 1 {
			order = [2]int{1, 0}
		}
		for _, i := range order {
			used, err := sides[i].turn(ctx, g.load(l, turn), l.pipeline)
			if err != nil {
				return p, fmt.Errorf("%s: %w", sides[i].binary, err)
			}
			if turn > 0 {
				sides[i].used = sides[i].used.plus(used)
			}
		}
	}
	return pair{sides[0].used, sides[1].used}, nil
}

// warmUp is the least number of orders of each client in the warm-up turn. A new process looks up keys in its first hundred batches
// (internal/intake), and a batch has at most one order of each client.
const warmUp = 100

// load returns the orders of a turn, the same for both builds. The first turn warms up.
func (g *guard) load(l load, turn int) bench.Load {
	orders := l.orders
	if g.Orders > 0 {
		orders = g.Orders
	}
	if turn == 0 {
		orders = max(2*orders, warmUp)
	}
	products := make([]int64, l.products)
	for i := range products {
		products[i] = int64(i + 1)
	}
	return bench.Load{
		Clients: g.Clients, Duration: turnTimeout, Orders: orders, Products: products, Users: 3, Keys: "turn" + strconv.Itoa(turn),
	}
}

// shared starts the database servers of a load: MariaDB once in a run, since a start takes seconds, and a new Redis.
func (g *guard) shared(ctx context.Context, l load, dir string) (s shared, err error) {
	if !l.shared {
		return s, nil
	}
	if g.mariadb == nil {
		if g.mariadb, err = servers.MariaDB(ctx, g.dir); err != nil {
			return s, err
		}
	}
	s.mariadb = g.mariadb
	s.redis, err = servers.Redis(ctx, dir)
	return s, err
}

func (g *guard) stop() error {
	if g.mariadb == nil {
		return nil
	}
	return g.mariadb.Kill() // its data is deleted
}

// shared are the database servers of a pair, nil over SQLite. Each build has a database and a key prefix of its own.
type shared struct{ mariadb, redis *servers.Server }

func (s shared) stop() error {
	if s.redis == nil {
		return nil
	}
	return s.redis.Kill()
}

// side is one build in one pair.
type side struct {
	binary string
	server *bench.Process
	shared shared
	used   cost
}

// turn sends a load and returns its cost. With pipeline it ends when all orders are paid or failed.
func (s *side) turn(ctx context.Context, load bench.Load, pipeline bool) (cost, error) {
	before, err := s.clocks()
	if err != nil {
		return cost{}, err
	}
	result, err := bench.Drive(ctx, []string{s.server.URL}, load)
	if err != nil {
		return cost{}, err
	}
	if want := int64(load.Clients * load.Orders); result.Created != want {
		return cost{}, fmt.Errorf("%d of %d orders were created: %v", result.Created, want, result.Answers)
	}
	if pipeline {
		if err := bench.Drain(ctx, s.server.URL); err != nil {
			return cost{}, err
		}
	}
	after, err := s.clocks()
	return cost{result.Created, after.server - before.server, after.database - before.database, after.redis - before.redis}, err
}

// clocks returns the processor time that the processes have used since they started.
func (s *side) clocks() (used cost, err error) {
	if used.server, err = bench.ProcessCPU(s.server.PID()); err != nil || s.shared.redis == nil {
		return used, err
	}
	if used.database, err = bench.ProcessCPU(s.shared.mariadb.PID()); err != nil {
		return used, err
	}
	used.redis, err = bench.ProcessCPU(s.shared.redis.PID())
	return used, err
}
