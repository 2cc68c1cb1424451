package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// ErrDown says that Redis cannot be reached, or does not answer in time, at the moment. The client looks by itself when
// it is back.
var ErrDown = errors.New("redis: not reachable at the moment")

// Bounds of a Client.
const (
	dialLimit   = time.Second
	silentLimit = 2 * time.Second        // a connection that answers nothing for so long is closed
	probeLimit  = 100 * time.Millisecond // for the answer to a probe
	probePause  = 250 * time.Millisecond // between probes while Redis is down
	probeRest   = time.Second            // between probes while it is up
	probesGood  = 2                      // in a row, before it counts as up again
	probeKeys   = 32                     // of a cluster: so many that each of its masters has some
)

// Options are what a Client works with.
type Options struct {
	Prefix string       // begins every key and channel, so that installations may share a Redis
	Logger *slog.Logger // nil for no log
	// Changed, if set, is told when Redis goes down and when it is back. It must return at once.
	Changed func(up bool)
}

// Client is the connection to Redis that all adapters of a process share. It is made without a connection, so that a
// process starts while Redis is down; Run connects, and finds out when Redis goes and when it comes back. While it is down
// the adapters fail at once instead of waiting. Its methods may be called from any goroutine.
type Client struct {
	options Options
	option  rueidis.ClientOption
	node    string      // names this process to the others
	cluster atomic.Bool // the keys of a script must be in one slot

	current atomic.Pointer[rueidis.Client] // nil while there has been no connection yet
	up      atomic.Bool
	wake    chan struct{} // has an element when Run is to look at once

	mu     sync.Mutex
	closed bool
	hooks  []func() // run, each in a goroutine of Run's, when Redis is back
}

// New returns a Client of the server, or cluster, that address names: redis://[user:password@]host[:port][/db], with
// rediss:// for TLS; several hosts, comma-separated, for a cluster; ?master_set=NAME for Sentinel. Its only error is that
// of an address that cannot be read; it does not show the address, which may have a password in it.
func New(address string, options Options) (*Client, error) {
	option, err := parse(address)
	if err != nil {
		return nil, err
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Changed == nil {
		options.Changed = func(bool) {}
	}
	return &Client{
		options: options, option: option, node: rand.Text()[:12], wake: make(chan struct{}, 1),
	}, nil
}

// parse reads an address.
func parse(address string) (rueidis.ClientOption, error) {
	u, err := url.Parse(address)
	if err != nil {
		return rueidis.ClientOption{}, errors.New("redis: the address cannot be read; use redis://HOST:PORT")
	}
	hosts := strings.Split(u.Host, ",")
	query := u.Query()
	for _, host := range hosts[1:] {
		query.Add("addr", host)
	}
	u.Host, u.RawQuery = hosts[0], query.Encode()
	option, err := rueidis.ParseURL(u.String())
	if err != nil {
		return rueidis.ClientOption{}, errors.New("redis: the address cannot be read; use redis://HOST:PORT")
	}
	if option.Sentinel.MasterSet != "" && option.Sentinel.Password == "" {
		option.Sentinel.Password = option.Password // of their default user, who takes any where none is asked for
	}
	option.DisableCache = true // of the library's: it needs tracking, which not every server allows
	option.DisableRetry = true // who waits has a bound, and knows what to do without Redis
	option.Dialer.Timeout = dialLimit
	option.ConnWriteTimeout = silentLimit
	option.ClientName = "orderflow"
	return option, nil
}

// Connect connects, if that has not happened yet, and finds out whether Redis answers. An error is no reason not to go on:
// Run tries again.
func (c *Client) Connect(ctx context.Context) error {
	if c.current.Load() == nil {
		client, err := rueidis.NewClient(c.option)
		if err != nil {
			if client != nil {
				client.Close()
			}
			return fmt.Errorf("redis: %w", err)
		}
		if !c.keep(client) {
			return ErrDown
		}
	}
	if err := c.probe(ctx); err != nil {
		return err
	}
	c.turn(true, nil)
	return nil
}

// keep makes a connection the current one; false when there is one already or the Client is closed.
func (c *Client) keep(client rueidis.Client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cluster.Store(client.Mode() == rueidis.ClientModeCluster) // one address may do for a cluster
	if c.closed || !c.current.CompareAndSwap(nil, &client) {
		client.Close()
		return !c.closed
	}
	return true
}

// Run connects and probes until ctx ends; then it returns nil. Call it once.
func (c *Client) Run(ctx context.Context) error {
	good := 0
	for {
		pause := probePause
		if c.up.Load() {
			pause = probeRest
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-c.wake:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		timer.Stop()
		err := c.look(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			good = 0
			c.turn(false, err)
		case !c.up.Load():
			if good++; good >= probesGood {
				c.turn(true, nil)
				c.runHooks()
			}
		}
	}
}

// look connects if need be, and probes.
func (c *Client) look(ctx context.Context) error {
	if c.current.Load() == nil {
		client, err := rueidis.NewClient(c.option)
		if err != nil {
			if client != nil {
				client.Close()
			}
			return err
		}
		if !c.keep(client) {
			return ErrDown
		}
	}
	return c.probe(ctx)
}

// probe writes something small: a server that only reads, or has no memory left, is of no use.
func (c *Client) probe(ctx context.Context) error {
	loaded := c.current.Load()
	if loaded == nil {
		return ErrDown
	}
	client := *loaded
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	keys := 1
	if c.cluster.Load() {
		keys = probeKeys
	}
	commands := make([]rueidis.Completed, keys)
	for i := range commands {
		commands[i] = client.B().Set().Key(c.key("orderflow:probe:" + strconv.Itoa(i))).Value(c.node).PxMilliseconds(5000).Build()
	}
	for _, result := range client.DoMulti(ctx, commands...) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	return nil
}

// turn notes that Redis is up or down, and tells when that is a change.
func (c *Client) turn(up bool, cause error) {
	if c.up.Swap(up) == up {
		return
	}
	c.options.Changed(up)
	if up {
		c.options.Logger.Info("Redis answers.", "event", "redis.up")
		return
	}
	c.options.Logger.Warn("Redis does not answer as it should; going on without it until it does.", "event", "redis.down", "error", cause)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// failed is told of every error of a command. It turns the client down when the error says that Redis cannot do its work,
// and returns the error. ctx is the caller's own: that it ended says nothing about Redis.
func (c *Client) failed(ctx context.Context, err error) error {
	if err != nil && !ended(ctx) && unfit(err) {
		c.turn(false, err)
	}
	return err
}

// ended reports whether a context has ended, or is about to: the library looks at the clock, the context at its timer.
func ended(ctx context.Context) bool {
	deadline, has := ctx.Deadline()
	return ctx.Err() != nil || has && time.Until(deadline) < time.Millisecond
}

// unfit reports whether an error says that the server cannot do its work at the moment, rather than that it was asked
// something wrong.
func unfit(err error) bool {
	if several, ok := err.(interface{ Unwrap() []error }); ok { // of errors.Join; one is enough
		return slices.ContainsFunc(several.Unwrap(), unfit)
	}
	answer, ok := rueidis.IsRedisErr(err)
	if !ok {
		return true // the connection, or the time
	}
	if answer.IsNil() {
		return false
	}
	word, _, _ := strings.Cut(answer.Error(), " ")
	switch word {
	case "LOADING", "MASTERDOWN", "READONLY", "OOM", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "NOREPLICAS", "BUSY", "NOAUTH", "NOPERM", "WRONGPASS",
		"MOVED", "ASK":
		return true
	}
	return false
}

// onReturn has a function run each time when Redis is back.
func (c *Client) onReturn(hook func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = append(c.hooks, hook)
}

func (c *Client) runHooks() {
	c.mu.Lock()
	hooks := c.hooks
	c.mu.Unlock()
	for _, hook := range hooks {
		hook()
	}
}

// Up reports whether Redis answers.
func (c *Client) Up() bool { return c.up.Load() }

// conn returns the connection, or ErrDown.
func (c *Client) conn() (rueidis.Client, error) {
	if client := c.current.Load(); client != nil && c.up.Load() {
		return *client, nil
	}
	return nil, ErrDown
}

// Close ends the connection; what waits for an answer fails. Closing twice does nothing.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.up.Store(false)
	if client := c.current.Swap(nil); client != nil {
		(*client).Close()
	}
}

// key is the name of a key or channel of this installation.
func (c *Client) key(name string) string { return c.options.Prefix + name }

// tag begins keys and channels that belong together. Its braces enclose the key of that name, so that a cluster puts all of
// them and that key into one slot. The prefix stands before the braces as well: an ACL can be written for it.
func (c *Client) tag(name string) string { return c.options.Prefix + "{" + c.key(name) + "}:" }

// DeleteAll deletes every key of this installation, which must have a prefix.
func (c *Client) DeleteAll(ctx context.Context) error {
	conn, err := c.conn()
	if err != nil {
		return err
	}
	if c.options.Prefix == "" {
		return errors.New("redis: without a prefix nobody knows whose the keys are; none was deleted")
	}
	for _, node := range conn.Nodes() {
		if err := deleteMatching(ctx, node, conn, glob(c.options.Prefix)+"*"); err != nil {
			return err
		}
	}
	return nil
}

// deleteMatching deletes the keys of one node that match; a replica of a cluster refuses to be asked, and has none of its
// own.
func deleteMatching(ctx context.Context, node, conn rueidis.Client, pattern string) error {
	for cursor := uint64(0); ; {
		page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		for _, key := range page.Elements {
			if err := conn.Do(ctx, conn.B().Unlink().Key(key).Build()).Error(); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

// glob quotes a text for a pattern.
func glob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
