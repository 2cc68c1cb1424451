package redis

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// ErrDown means that Redis is unreachable or does not answer in time. The client detects when Redis is back.
var ErrDown = errors.New("redis: unreachable at the moment")

// Bounds of a Client.
const (
	dialTimeout    = time.Second
	silenceTimeout = 2 * time.Second // after which a connection without any answer is closed
)

// Options configure a Client.
type Options struct {
	Prefix string       // begins every key and channel, so that several installations can share a Redis
	Logger *slog.Logger // nil for no log
	// Changed, if set, is called with false when Redis goes down or an operation begins to fail, and with true when everything
	// works again. It must not block.
	Changed func(healthy bool)
}

// Client is the connection to Redis that all adapters of a process share. New does not connect, so a process can start while
// Redis is down. Run connects and detects when Redis goes down and comes back. While it is down the adapters fail at once instead
// of waiting. All methods are safe for concurrent use.
type Client struct {
	options Options
	option  rueidis.ClientOption
	within  time.Duration // probeTimeout, except in tests on a busy machine
	node    string        // identifies this process to the others
	cluster atomic.Bool   // the keys of a script must be in one slot

	current       atomic.Pointer[rueidis.Client] // nil before the first connection
	commandProbes atomic.Int32                   // keys of a cluster that command probes have used while it was up
	commandProbe  script                         // probe.lua
	wake          chan struct{}                  // a signal: Run should probe soon
	probed        time.Time                      // start of the last probe; only Run uses it
	health        health

	mu     sync.Mutex
	closed bool
	hooks  []func() // run by Run when Redis is back
}

// New returns a Client of a server or cluster. The address is redis://[user:password@]host[:port][/db], or rediss:// for TLS;
// several comma-separated hosts for a cluster; ?master_set=NAME for Sentinel; ?ca=FILE for the CA of the servers' certificates. It
// returns an error for an invalid address or an unreadable file. The error does not contain the address, which may hold a password.
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
		options: options, option: option, within: probeTimeout, node: rand.Text()[:12], wake: make(chan struct{}, 1),
		commandProbe: newScript(probeText),
		health:       health{logger: options.Logger, changed: options.Changed, failures: map[operation]*failure{}},
	}, nil
}

// parse parses an address.
func parse(address string) (rueidis.ClientOption, error) {
	u, err := url.Parse(address)
	if err != nil {
		return rueidis.ClientOption{}, errors.New("redis: invalid address: use redis://HOST:PORT")
	}
	hosts := strings.Split(u.Host, ",")
	query := u.Query()
	for _, host := range hosts[1:] {
		query.Add("addr", host)
	}
	u.Host, u.RawQuery = hosts[0], query.Encode()
	option, err := rueidis.ParseURL(u.String())
	if err != nil {
		return rueidis.ClientOption{}, errors.New("redis: invalid address: use redis://HOST:PORT")
	}
	if option.Sentinel.MasterSet != "" && option.Sentinel.Password == "" {
		option.Sentinel.Password = option.Password // a Sentinel without a password accepts any
	}
	if err := secure(&option, len(hosts) > 1, query.Get("ca")); err != nil {
		return rueidis.ClientOption{}, err
	}
	option.DisableCache = true // client-side caching needs tracking, which not every server allows
	option.DisableRetry = true // callers have a time limit, and can work without Redis
	option.Dialer.Timeout = dialTimeout
	option.ConnWriteTimeout = silenceTimeout
	option.ClientName = "orderflow"
	return option, nil
}

// secure completes the TLS settings, if TLS is used. Sentinels use TLS too, since they receive the password. With several hosts,
// each host needs a certificate for its own name.
func secure(option *rueidis.ClientOption, several bool, ca string) error {
	if option.TLSConfig == nil {
		return nil
	}
	if several {
		option.TLSConfig.ServerName = ""
	}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("redis: cannot read the file of ?ca=: %w", err)
		}
		option.TLSConfig.RootCAs = x509.NewCertPool()
		if !option.TLSConfig.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("redis: the file of ?ca=, %s, contains no PEM certificate", ca)
		}
	}
	if option.Sentinel.MasterSet != "" {
		option.Sentinel.TLSConfig = option.TLSConfig.Clone()
	}
	return nil
}

// Connect connects, unless there is a connection, and checks that Redis does what the product needs. After an error the caller may
// continue: Run retries.
func (c *Client) Connect(ctx context.Context) error {
	if err := c.probeOnce(ctx, true); err != nil {
		c.health.markDown(err)
		return err
	}
	c.health.markUp()
	return nil
}

// dial connects, unless there is a connection.
func (c *Client) dial() error {
	if c.current.Load() != nil {
		return nil
	}
	client, err := rueidis.NewClient(c.option)
	if err != nil {
		if client != nil {
			client.Close()
		}
		return fmt.Errorf("redis: %w", err)
	}
	if !c.setCurrent(client) {
		return ErrDown
	}
	return nil
}

// setCurrent makes a connection the current one. It closes the connection when there is one already, or when the Client is closed,
// which it reports as false.
func (c *Client) setCurrent(client rueidis.Client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cluster.Store(client.Mode() == rueidis.ClientModeCluster) // a cluster may have been named by one address
	if c.closed || !c.current.CompareAndSwap(nil, &client) {
		client.Close()
		return !c.closed
	}
	return true
}

// onReturn registers a function that runs each time when Redis is back.
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

// Up reports whether the adapters currently use Redis.
func (c *Client) Up() bool { return c.health.up.Load() }

// conn returns the connection, or ErrDown.
func (c *Client) conn() (rueidis.Client, error) {
	if client := c.current.Load(); client != nil && c.health.up.Load() {
		return *client, nil
	}
	return nil, ErrDown
}

// Close closes the connection; calls in flight fail. Closing twice does nothing.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.health.up.Store(false)
	if client := c.current.Swap(nil); client != nil {
		(*client).Close()
	}
}

// key returns the full name of a key or channel of this installation.
func (c *Client) key(name string) string { return c.options.Prefix + name }

// tag returns the beginning of keys and channels that belong together. Its braces enclose the key of that name, so a cluster puts
// all of them and that key into one slot. The prefix is repeated before the braces, so that an ACL can name it.
func (c *Client) tag(name string) string { return c.options.Prefix + "{" + c.key(name) + "}:" }

// DeleteAll deletes every key of this installation, which must have a prefix. It connects if necessary. It has no time limit of its own
// for a slow server, since nothing else deletes the keys.
func (c *Client) DeleteAll(ctx context.Context) error {
	if c.options.Prefix == "" {
		return errors.New("redis: no key was deleted: without a prefix the keys of this installation cannot be told apart")
	}
	if err := c.dial(); err != nil {
		return err
	}
	loaded := c.current.Load()
	if loaded == nil {
		return ErrDown
	}
	conn := *loaded
	for _, node := range conn.Nodes() {
		if err := deleteMatching(ctx, node, conn, glob(c.options.Prefix)+"*"); err != nil {
			return err
		}
	}
	return nil
}

// deleteMatching deletes the matching keys of one node.
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

// glob escapes a text for use in a pattern.
func glob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
