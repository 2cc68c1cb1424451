package redis

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestRequestedProbes: a failed operation requests an early probe, but thousands of them cause at most one every 250 ms.
func TestRequestedProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{wake: make(chan struct{}, 1)}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var failures sync.WaitGroup
		failures.Go(func() {
			for ctx.Err() == nil {
				c.probeSoon()
				time.Sleep(time.Millisecond)
			}
		})
		var last time.Time
		probes := 0
		for c.waitToProbe(ctx, probeInterval) {
			if now := time.Now(); now.Sub(last) < probeSpacing {
				t.Errorf("probe %d came %s after the previous one", probes, now.Sub(last))
				cancel()
			}
			last = time.Now()
			probes++
		}
		failures.Wait()
		if probes < 19 || probes > 21 {
			t.Errorf("%d probes in 5 s, want about one every 250 ms", probes)
		}
	})
}

// TestFirstRequestedProbe: after a quiet time the first failure causes a probe at once.
func TestFirstRequestedProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{wake: make(chan struct{}, 1), probed: time.Now().Add(-probeSpacing)}
		c.probeSoon()
		begin := time.Now()
		if !c.waitToProbe(t.Context(), probeInterval) {
			t.Fatal("no probe was made")
		}
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("the probe came after %s, want at once", waited)
		}
	})
}
