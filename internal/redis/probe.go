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
	probeTimeout        = 100 * time.Millisecond // of a probe
	probeInterval       = time.Second            // between probes while Redis is up
	downProbePause      = 250 * time.Millisecond // the first pause between probes while it is down
	probeSpacing        = 250 * time.Millisecond // the least time between two probes, however often operations request one
	downProbePauseMax   = time.Second            // the longest pause between probes while it is down
	probesToRecover     = 2                      // consecutive successes before Redis counts as up again
	probeKeys           = 32                     // keys of a cluster to probe: enough for each master to have some
	commandProbeEvery   = 5                      // while Redis is up, every fifth probe also runs every command
	commandProbeKeys    = 4                      // keys of a cluster that such a probe uses
	commandProbeTimeout = time.Second            // of such a probe; its speed does not matter
)

//go:embed scripts/probe.lua
var probeText string

// Run connects and probes until ctx ends; then it returns nil. Call it once.
func (c *Client) Run(ctx context.Context) error {
	good, probes := 0, 0
	retry := backoff{first: downProbePause, longest: downProbePauseMax}
	for {
		pause := probeInterval
		if !c.Up() && good > 0 {
			pause = downProbePause
		} else if !c.Up() {
			pause = retry.next()
		}
		if !c.waitToProbe(ctx, pause) {
			return nil
		}
		wasUp := c.Up()
		probes++
		err := c.probeOnce(ctx, !wasUp || c.health.failing() || probes%commandProbeEvery == 0)
		c.health.expire(time.Now())
		switch {
		case ctx.Err() != nil:
		case err != nil:
			good = 0
			c.health.markDown(err)
		case c.Up():
			retry.reset()
		case wasUp: // Redis went down during the probe, which therefore does not count
			good = 0
		default:
			if good++; good >= probesToRecover && c.health.mayReturn(time.Now()) {
				good = 0
				c.health.markUp()
				c.runHooks()
			}
		}
	}
}

// waitToProbe waits until the pause ends or an operation requests a probe, but at least probeSpacing after the last one. It returns
// false when ctx has ended. Only Run calls it.
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
	timer.Reset(time.Until(c.probed.Add(probeSpacing)))
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	select { // this probe also serves operations that failed meanwhile
	case <-c.wake:
	default:
	}
	c.probed = time.Now()
	return true
}

// probeSoon requests an early probe from Run.
func (c *Client) probeSoon() { notify(c.wake) }

// probeOnce connects if necessary, and probes.
func (c *Client) probeOnce(ctx context.Context, proof bool) error {
	if err := c.dial(); err != nil {
		return err
	}
	return c.probe(ctx, proof)
}

// probe writes a key, or on a cluster several, so that each master has to write one. With proof it also runs every command that the
// adapters use: a server that answers may still refuse scripts, channels or single commands.
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
	return c.probeCommands(ctx, client, keys)
}

// probeCommands runs the commands on that many keys. While Redis is up, each probe uses a few of the keys in turn.
func (c *Client) probeCommands(ctx context.Context, client rueidis.Client, keys int) error {
	first := 0
	if keys > commandProbeKeys && c.Up() {
		first, keys = int(c.commandProbes.Add(commandProbeKeys)&(probeKeys-1)), commandProbeKeys
	}
	calls := make([]call, keys)
	for i := range calls {
		tag := c.tag(probeName((first + i) % probeKeys))
		calls[i] = call{
			script: c.commandProbe, keys: []string{tag + "text", tag + "hash", tag + "set", tag + "sorted", tag + "stream"},
			args: []string{c.key("orderflow:probe"), tag + "channel"},
		}
	}
	limited, cancel := context.WithTimeout(ctx, commandProbeTimeout)
	defer cancel()
	for _, result := range run(limited, client, calls) {
		if err := result.Error(); err != nil {
			return err
		}
	}
	return nil
}

func probeName(i int) string { return "orderflow:probe:" + strconv.Itoa(i) }
