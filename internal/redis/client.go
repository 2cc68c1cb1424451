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

// ErrDown says that Redis cannot be reached, or does not answer in time, at the moment. The client looks by itself when
// it is back.
var ErrDown = errors.New("redis: not reachable at the moment")

// Bounds of a Client.
const (
	dialLimit   = time.Second
	silentLimit = 2 * time.Second // a connection that answers nothing for so long is closed
)

// Options are what a Client works with.
type Options struct {
	Prefix string       // begins every key and channel, so that installations may share a Redis
	Logger *slog.Logger // nil for no log
	// Changed, if set, is called with false when Redis goes down or an operation begins to fail, and with true when all of it
	// works again. It must return at once.
	Changed func(healthy bool)
}

// Client is the connection to Redis that all adapters of a process share. It is made without a connection, so that a
// process starts while Redis is down; Run connects, and finds out when Redis goes and when it comes back. While it is down
// the adapters fail at once instead of waiting. Its methods may be called from any goroutine.
type Client struct {
	options Options
	option  rueidis.ClientOption
	within  time.Duration // probeLimit, except in tests beside which the machine has too much to do
	node    string        // names this process to the others
	cluster atomic.Bool   // the keys of a script must be in one slot

	current atomic.Pointer[rueidis.Client] // nil while there has been no connection yet
	proofs  atomic.Int32                   // keys of a cluster that proofs have used while it was up
	proof   script                         // probe.lua
	wake    chan struct{}                  // has an element when Run is to probe soon
	probed  time.Time                      // when the last probe began; for Run alone
	health  health

	mu     sync.Mutex
	closed bool
	hooks  []func() // run by Run when Redis is back
}

// New returns a Client of the server, or cluster, that address names: redis://[user:password@]host[:port][/db], with
// rediss:// for TLS; several hosts, comma-separated, for a cluster; ?master_set=NAME for Sentinel; ?ca=FILE for the CA that the
// servers' certificates are of. Its errors are those of an address or a file that cannot be read; they do not show the
// address, which may have a password in it.
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
		options: options, option: option, within: probeLimit, node: rand.Text()[:12], wake: make(chan struct{}, 1), proof: newScript(probeText),
		health: health{logger: options.Logger, changed: options.Changed, failures: map[operation]*failure{}},
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
	if err := secure(&option, len(hosts) > 1, query.Get("ca")); err != nil {
		return rueidis.ClientOption{}, err
	}
	option.DisableCache = true // of the library's: it needs tracking, which not every server allows
	option.DisableRetry = true // who waits has a bound, and knows what to do without Redis
	option.Dialer.Timeout = dialLimit
	option.ConnWriteTimeout = silentLimit
	option.ClientName = "orderflow"
	return option, nil
}

// secure completes the settings of TLS, if it is asked for. Sentinels are asked over TLS too, since they get the password. Of
// several hosts each must have a certificate for its own name.
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
			return fmt.Errorf("redis: the file of ?ca= cannot be read: %w", err)
		}
		option.TLSConfig.RootCAs = x509.NewCertPool()
		if !option.TLSConfig.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("redis: the file of ?ca=, %s, has no certificate in PEM", ca)
		}
	}
	if option.Sentinel.MasterSet != "" {
		option.Sentinel.TLSConfig = option.TLSConfig.Clone()
	}
	return nil
}

// Connect connects, if that has not happened yet, and finds out whether Redis does what the product needs. After an error the
// caller may go on: Run tries again.
func (c *Client) Connect(ctx context.Context) error {
	if err := c.probeOnce(ctx, true); err != nil {
		c.health.markDown(err)
		return err
	}
	c.health.markUp()
	return nil
}

// dial makes the connection, unless there is one.
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
	if !c.keep(client) {
		return ErrDown
	}
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

// Up reports whether the adapters use Redis at the moment.
func (c *Client) Up() bool { return c.health.up.Load() }

// conn returns the connection, or ErrDown.
func (c *Client) conn() (rueidis.Client, error) {
	if client := c.current.Load(); client != nil && c.health.up.Load() {
		return *client, nil
	}
	return nil, ErrDown
}

// Close ends the connection; what waits for an answer fails. Closing twice does nothing.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.health.up.Store(false)
	if client := c.current.Swap(nil); client != nil {
		(*client).Close()
	}
}

// key is the name of a key or channel of this installation.
func (c *Client) key(name string) string { return c.options.Prefix + name }

// tag begins keys and channels that belong together. Its braces enclose the key of that name, so that a cluster puts all of
// them and that key into one slot. The prefix stands before the braces as well: an ACL can be written for it.
func (c *Client) tag(name string) string { return c.options.Prefix + "{" + c.key(name) + "}:" }

// DeleteAll deletes every key of this installation, which must have a prefix, and connects for that if need be. It waits for a
// slow server longer than the adapters do, since nobody else deletes the keys.
func (c *Client) DeleteAll(ctx context.Context) error {
	if c.options.Prefix == "" {
		return errors.New("redis: without a prefix nobody knows whose the keys are; none was deleted")
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
