package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MasterSet is the name by which the sentinels of Sentinel know their master.
const MasterSet = "orderflow"

// Sentinels is a Redis master with two replicas, and three sentinels that make a replica the master when they miss it for
// a second. All of them are servers of their own, to be killed and started again.
type Sentinels struct {
	Redis     []*Server // the first was the first master
	Sentinels []*Server
}

// Sentinel starts one below dir (see Folder), and waits until all know each other and the replicas have what the master has.
func Sentinel(ctx context.Context, dir string, flags ...string) (set *Sentinels, err error) {
	set = &Sentinels{}
	defer func() {
		if err != nil {
			err = errors.Join(err, set.Kill())
			set = nil
		}
	}()
	for i := range 3 {
		of := append([]string{"--repl-diskless-sync-delay", "0"}, flags...)
		if i > 0 {
			of = append(of, "--replicaof", "127.0.0.1 "+strconv.Itoa(set.Redis[0].port))
		}
		redis, err := Redis(ctx, dir, of...)
		if err != nil {
			return set, err
		}
		set.Redis = append(set.Redis, redis)
	}
	for range 3 {
		sentinel, err := newSentinel(dir, set.Redis[0].port)
		if err == nil {
			err = sentinel.Start(ctx)
		}
		if err != nil {
			return set, err
		}
		set.Sentinels = append(set.Sentinels, sentinel)
	}
	return set, set.settled(ctx)
}

// URL is the address of the set, as --redis takes it.
func (s *Sentinels) URL() string {
	hosts := make([]string, len(s.Sentinels))
	for i, sentinel := range s.Sentinels {
		hosts[i] = sentinel.Addr()
	}
	return "redis://" + strings.Join(hosts, ",") + "?master_set=" + MasterSet
}

// Kill ends all of them, the sentinels first, so that they see nobody die.
func (s *Sentinels) Kill() error { return errors.Join(endAll(s.Sentinels), endAll(s.Redis)) }

// Master is the server that the sentinels take for the master now.
func (s *Sentinels) Master() (*Server, error) {
	said, err := ask(s.Sentinels[0].Addr(), "INFO sentinel")
	if err != nil {
		return nil, err
	}
	for _, redis := range s.Redis {
		if strings.Contains(said, "address="+redis.Addr()+",") {
			return redis, nil
		}
	}
	return nil, fmt.Errorf("the sentinels name no master: %s", said)
}

// settled waits until every sentinel knows the other two and the replicas, and the replicas are in step.
func (s *Sentinels) settled(ctx context.Context) error {
	for _, sentinel := range s.Sentinels {
		if err := says(ctx, sentinel.Addr(), "INFO sentinel", "status=ok", "slaves=2,sentinels=3"); err != nil {
			return err
		}
	}
	for _, replica := range s.Redis[1:] {
		if err := says(ctx, replica.Addr(), "INFO replication", "master_link_status:up"); err != nil {
			return err
		}
	}
	return nil
}

// newSentinel makes one that is not started yet.
func newSentinel(dir string, master int) (*Server, error) {
	path, err := find("redis-sentinel", "redis-sentinel")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "redis-sentinel", path: path, answers: pongs}
	if s.port, err = FreePort(); err != nil {
		return nil, err
	}
	s.dir = filepath.Join(dir, "sentinel-"+strconv.Itoa(s.port))
	if err := own(s.dir, nil); err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "sentinel.conf") // it writes down there what it learns
	text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %[3]s 1000\n"+
		"sentinel failover-timeout %[3]s 5000\nsentinel parallel-syncs %[3]s 1\n", s.port, s.dir, MasterSet, master)
	s.args = []string{file}
	return s, os.WriteFile(file, []byte(text), 0o600)
}

// says waits until a Redis server's answer has all of these in it.
func says(ctx context.Context, addr, command string, want ...string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(readyPause)
	defer tick.Stop()
	for {
		said, err := ask(addr, command)
		all := err == nil
		for _, part := range want {
			all = all && strings.Contains(said, part)
		}
		if all {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s of %s: waited %s for %q: %s, %w", command, addr, readyWithin, want, said, errors.Join(err, ctx.Err()))
		}
	}
}

// ask sends a Redis server a command without spaces in its words, and returns the answer, a text.
func ask(addr, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, answerWait)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // it was only asked
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	head, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	rest, bulk := strings.CutPrefix(strings.TrimSpace(head), "$")
	if !bulk {
		return head, nil
	}
	size, err := strconv.Atoi(rest)
	if err != nil || size < 0 {
		return "", fmt.Errorf("answer to %s: %q", command, head)
	}
	body := make([]byte, size)
	_, err = io.ReadFull(in, body)
	return string(body), err
}
