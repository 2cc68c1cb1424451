package redis

import (
	"bytes"
	"context"
	_ "embed" // the script
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// productsTimeout limits a reader's wait for Redis, before it queries the database.
const productsTimeout = 50 * time.Millisecond

//go:embed scripts/products_put.lua
var productsPutText string

// Products caches the product list for all processes that share a Redis. Every change of stock raises a version, in the round trip
// that releases the product locks (see NewLocker), so before the change is answered. A list is stored and used only under the version
// that was read before the list was loaded. So a client that has the answer to a change never gets a list from before the change.
// A version that could not be raised is raised when Redis comes back, and before this process uses a cached list again. All methods
// are safe for concurrent use.
type Products struct {
	client              *Client
	put                 script
	invalidationPending atomic.Bool // a change of stock could not raise the version: cached lists are invalid until it is raised
}

// NewProducts returns a Products.
func NewProducts(client *Client) *Products {
	p := &Products{client: client, put: newScript(productsPutText)}
	client.onReturn(func() {
		ctx, cancel := context.WithTimeout(context.Background(), productsTimeout)
		defer cancel()
		_ = p.Drop(ctx) // after an error Redis is down again, or readers see a list that is a second old
	})
	return p
}

// keys returns the keys of the version and the list, which are in one slot of a cluster.
func (p *Products) keys() []string {
	tag := p.client.tag("orderflow:products")
	return []string{tag + "version", tag + "list"}
}

// Get returns the cached list, or nil, and the version under which a list that is loaded now may be stored.
func (p *Products) Get(ctx context.Context) (list []byte, version string, err error) {
	conn, err := p.client.conn()
	if err != nil {
		return nil, "", err
	}
	limited, cancel := context.WithTimeout(ctx, productsTimeout)
	defer cancel()
	if p.invalidationPending.Load() {
		if err := p.invalidate(ctx, limited, conn); err != nil {
			return nil, "", err
		}
	}
	values, err := conn.Do(limited, conn.B().Mget().Key(p.keys()...).Build()).ToArray()
	if err := p.client.record(ctx, cacheProducts(), err); err != nil {
		return nil, "", err
	}
	if len(values) != 2 {
		return nil, "", errUnexpectedAnswer
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

// Put stores a list that was loaded after version was read, for the time left.
func (p *Products) Put(ctx context.Context, version string, list []byte, left time.Duration) error {
	if left < time.Millisecond {
		return nil
	}
	conn, err := p.client.conn()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, productsTimeout)
	defer cancel()
	args := []string{version, string(list), strconv.FormatInt(left.Milliseconds(), 10)}
	return p.client.record(ctx, cacheProducts(), run(limited, conn, []call{{p.put, p.keys(), args}})[0].Error())
}

// Drop invalidates the list for all processes.
func (p *Products) Drop(ctx context.Context) error {
	conn, err := p.client.conn()
	if err != nil {
		p.invalidationPending.Store(true)
		return err
	}
	limited, cancel := context.WithTimeout(ctx, productsTimeout)
	defer cancel()
	return p.invalidate(ctx, limited, conn)
}

// invalidate raises the version; limited is ctx with a time limit.
func (p *Products) invalidate(ctx, limited context.Context, conn rueidis.Client) error {
	p.invalidationPending.Store(false) // before the command: a concurrent change that fails to raise the version sets it again
	return p.recordInvalidation(ctx, conn.Do(limited, p.invalidation(conn)).Error())
}

// invalidation returns the command that raises the version.
func (p *Products) invalidation(conn rueidis.Client) rueidis.Completed {
	return conn.B().Incr().Key(p.keys()[0]).Build()
}

// recordInvalidation records the outcome of that command.
func (p *Products) recordInvalidation(ctx context.Context, err error) error {
	if err != nil {
		p.invalidationPending.Store(true)
	}
	return p.client.record(ctx, invalidateProducts(), err)
}
