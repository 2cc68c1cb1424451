package redis

import (
	"bytes"
	"context"
	_ "embed" // the script
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// productsTime is how long a reader of the list waits for Redis before it asks the database.
const productsTime = 50 * time.Millisecond

//go:embed scripts/products_put.lua
var productsPutText string

// Products keeps the list of products for all processes that share a Redis. A version beside it is raised by every change
// of stock, in the round trip that gives the product locks back (see NewLocker), so before the change is answered. A list
// is kept and believed only under the version that was read before it was loaded: nobody gets one that was read before a
// change that was answered before they asked. A version that could not be raised is raised later: when Redis comes back, and
// before this process believes a list again. Its methods may be called from any goroutine.
type Products struct {
	client   *Client
	put      script
	unraised atomic.Bool // the version was not raised after a change of stock: cached lists are invalid until the version is raised
}

// NewProducts returns the cache.
func NewProducts(client *Client) *Products {
	p := &Products{client: client, put: newScript(productsPutText)}
	client.onReturn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), productsTime)
		defer cancel()
		_ = p.Drop(ctx) // Redis is down again, or a list of a second ago is seen once more
	})
	return p
}

// keys are the version and the list, in one slot of a cluster.
func (p *Products) keys() []string {
	tag := p.client.tag("orderflow:products")
	return []string{tag + "version", tag + "list"}
}

// Get returns the list if it is kept, else nil, and the version under which a list that is loaded now may be kept.
func (p *Products) Get(ctx context.Context) (list []byte, version string, err error) {
	conn, err := p.client.conn()
	if err != nil {
		return nil, "", err
	}
	limited, cancel := context.WithTimeout(ctx, productsTime)
	defer cancel()
	if p.unraised.Load() {
		if err := p.raise(ctx, limited, conn); err != nil {
			return nil, "", err
		}
	}
	values, err := conn.Do(limited, conn.B().Mget().Key(p.keys()...).Build()).ToArray()
	if err := p.client.done(ctx, cacheProducts(), err); err != nil {
		return nil, "", err
	}
	if len(values) != 2 {
		return nil, "", errors.New("redis: the products are not what they should be")
	}
	if version, err = values[0].ToString(); rueidis.IsRedisNil(err) {
		version, err = "0", nil
	}
	if err != nil {
		return nil, "", err
	}
	kept, err := values[1].AsBytes()
	if rueidis.IsRedisNil(err) {
		return nil, version, nil
	}
	under, list, _ := bytes.Cut(kept, []byte{'\n'})
	if err != nil || string(under) != version {
		return nil, version, err
	}
	return list, version, nil
}

// Put keeps a list that was loaded after version was read, for as long as left.
func (p *Products) Put(ctx context.Context, version string, list []byte, left time.Duration) error {
	if left < time.Millisecond {
		return nil
	}
	conn, err := p.client.conn()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, productsTime)
	defer cancel()
	args := []string{version, string(list), strconv.FormatInt(left.Milliseconds(), 10)}
	return p.client.done(ctx, cacheProducts(), run(limited, conn, []call{{p.put, p.keys(), args}})[0].Error())
}

// Drop makes everybody forget the list.
func (p *Products) Drop(ctx context.Context) error {
	conn, err := p.client.conn()
	if err != nil {
		p.unraised.Store(true)
		return err
	}
	limited, cancel := context.WithTimeout(ctx, productsTime)
	defer cancel()
	return p.raise(ctx, limited, conn)
}

// raise raises the version; limited is ctx with the time that this may take.
func (p *Products) raise(ctx, limited context.Context, conn rueidis.Client) error {
	p.unraised.Store(false) // before the command: a change that comes meanwhile and is not raised sets it again
	return p.raised(ctx, conn.Do(limited, p.raising(conn)).Error())
}

// raising is the command that raises the version.
func (p *Products) raising(conn rueidis.Client) rueidis.Completed {
	return conn.B().Incr().Key(p.keys()[0]).Build()
}

// raised records the outcome of that command.
func (p *Products) raised(ctx context.Context, err error) error {
	if err != nil {
		p.unraised.Store(true)
	}
	return p.client.done(ctx, raiseVersion(), err)
}
