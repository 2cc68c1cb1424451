package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// ErrDown says that Redis cannot be reached, or does not answer in time, at the moment. The client looks by itself when
// it is back.
var ErrDown = errors.New("redis: not reachable at the moment")

// Options are what a Client works with.
type Options struct {
	Prefix string       // begins every key and channel, so that installations may share a Redis
	Logger *slog.Logger // nil for no log
	// Changed, if set, is told when Redis goes down and when it is back.
	Changed func(up bool)
}

// Client is the connection to Redis that all adapters of a process share. It is made without a connection, so that a
// process starts while Redis is down. Its methods may be called from any goroutine.
type Client struct {
	options Options
	option  rueidis.ClientOption
	current atomic.Pointer[rueidis.Client] // nil while there has been no connection yet
	up      atomic.Bool
}

// New returns a Client of the server, or cluster, that address names: redis://[user:password@]host[:port][/db], with
// rediss:// for TLS; several hosts, comma-separated, for a cluster; ?master_set=NAME for Sentinel. Its only error is that
// of an address that cannot be read.
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
	return &Client{options: options, option: option}, nil
}

// parse reads an address.
func parse(address string) (rueidis.ClientOption, error) {
	u, err := url.Parse(address)
	if err != nil {
		return rueidis.ClientOption{}, errors.New("redis: the address cannot be read")
	}
	hosts := strings.Split(u.Host, ",")
	query := u.Query()
	for _, host := range hosts[1:] {
		query.Add("addr", host)
	}
	u.Host, u.RawQuery = hosts[0], query.Encode()
	option, err := rueidis.ParseURL(u.String())
	if err != nil {
		return option, fmt.Errorf("redis: the address cannot be read: %w", err)
	}
	option.DisableCache = true
	return option, nil
}

// Connect connects, once.
func (c *Client) Connect(ctx context.Context) error {
	client, err := rueidis.NewClient(c.option)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := client.Do(ctx, client.B().Ping().Build()).Error(); err != nil {
		client.Close()
		return err
	}
	c.current.Store(&client)
	c.up.Store(true)
	return nil
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

// Close ends the connection.
func (c *Client) Close() {
	if client := c.current.Swap(nil); client != nil {
		(*client).Close()
	}
}

// key is the name of a key or channel of this installation.
func (c *Client) key(name string) string { return c.options.Prefix + name }
