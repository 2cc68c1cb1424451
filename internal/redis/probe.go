package redis

import (
	"context"
	_ "embed" // the script
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// Bounds of probing.
const (
	probeLimit   = 100 * time.Millisecond // for the answer to a probe
	probeRest    = time.Second            // between probes while Redis is up
	probePause   = 250 * time.Millisecond // between probes while it is down, at first
	probeWoken   = 250 * time.Millisecond // between two probes at least, however often operations ask for one
	probeLongest = time.Second            // the same, at last
	probesGood   = 2                      // in a row, before it counts as up again
	probeKeys    = 32                     // of a cluster: so many that each of its masters has some
	proofEvery   = 5                      // of so many probes while it is up, one carries out every command
	proofKeys    = 4                      // on so many keys of a cluster at a time
	proofLimit   = time.Second            // for that; how fast it is does not matter
)

//go:embed scripts/probe.lua
var probeText string

// Run connects and probes until ctx ends; then it returns nil. Call it once.
func (c *Client) Run(ctx context.Context) error {
	good, probes := 0, 0
	retry := backoff{first: probePause, longest: probeLongest}
	for {
		pause := probeRest
		if !c.Up() && good > 0 {
			pause = probePause
		} else if !c.Up() {
			pause = retry.next()
		}
		if !c.waitToProbe(ctx, pause) {
			return nil
		}
		wasUp := c.Up()
		probes++
		err := c.probeOnce(ctx, !wasUp || c.health.failing() || probes%proofEvery == 0)
		c.health.expire(time.Now())
		switch {
		case ctx.Err() != nil:
		case err != nil:
			good = 0
			c.health.markDown(err)
		case c.Up():
			retry.reset()
		case wasUp: // it went down meanwhile, so this probe proves nothing
			good = 0
		default:
			if good++; good >= probesGood && c.health.mayReturn(time.Now()) {
				good = 0
				c.health.markUp()
				c.runHooks()
			}
		}
	}
}

// waitToProbe waits for the next probe: until the pause is over, or until an operation asks for a probe, but not sooner than
// probeWoken after the last one. It returns false when ctx has ended. Only Run calls it.
func (c *Client) waitToProbe(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.probed = time.Now()
		return true
	case <-c.wake:
	case <-ctx.Done():
		return false
	}
	timer.Reset(time.Until(c.probed.Add(probeWoken)))
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	select { // an operation that failed meanwhile has this probe
	case <-c.wake:
	default:
	}
	c.probed = time.Now()
	return true
}

// probeSoon asks Run to probe before its time.
func (c *Client) probeSoon() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// probeOnce connects if need be, and probes.
func (c *Client) probeOnce(ctx context.Context, proof bool) error {
	if err := c.dial(); err != nil {
		return err
	}
	return c.probe(ctx, proof)
}

// probe writes a key, on a cluster several, so that each master has to. With proof it also has every command carried out
// that the adapters use: a server that answers may still refuse scripts, channels or single commands.
func (c *Client) probe(ctx context.Context, proof bool) error {
	loaded := c.current.Load()
	if loaded == nil {
		return ErrDown
	}
	client, keys := *loaded, 1
	if c.cluster.Load() {
		keys = probeKeys
	}
	writes := make([]rueidis.Completed, keys)
	for i := range writes {
		writes[i] = client.B().Set().Key(c.key(probeName(i))).Value(c.node).PxMilliseconds(5000).Build()
	}
	limited, cancel := context.WithTimeout(ctx, c.within)
	defer cancel()
	for _, result := range client.DoMulti(limited, writes...) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	if !proof {
		return nil
	}
	return c.prove(ctx, client, keys)
}

// prove has the commands carried out on that many keys. While Redis is up, a few of them do for each proof, in turn.
func (c *Client) prove(ctx context.Context, client rueidis.Client, keys int) error {
	first := 0
	if keys > proofKeys && c.Up() {
		first, keys = int(c.proofs.Add(proofKeys)&(probeKeys-1)), proofKeys
	}
	calls := make([]call, keys)
	for i := range calls {
		tag := c.tag(probeName((first + i) % probeKeys))
		calls[i] = call{
			script: c.proof, keys: []string{tag + "text", tag + "hash", tag + "set", tag + "sorted", tag + "stream"},
			args: []string{c.key("orderflow:probe"), tag + "channel"},
		}
	}
	limited, cancel := context.WithTimeout(ctx, proofLimit)
	defer cancel()
	for _, result := range run(limited, client, calls) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	return nil
}

func probeName(i int) string { return "orderflow:probe:" + strconv.Itoa(i) }
