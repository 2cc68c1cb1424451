package worker

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/payment"
)

func TestNewRefusesInvalidOptions(t *testing.T) {
	env := newTestEnv(t)
	defer env.close()
	for _, c := range []struct {
		name   string
		change func(*Options)
		words  string
	}{
		{"no store", func(o *Options) { o.Orders = nil }, "required"},
		{"no gateway", func(o *Options) { o.Gateway = nil }, "required"},
		{"no bus", func(o *Options) { o.Bus = nil }, "required"},
		{"no publisher", func(o *Options) { o.Publisher = nil }, "required"},
		{"no installation", func(o *Options) { o.Installation = "" }, "installation"},
		{"no node", func(o *Options) { o.Node = "" }, "node"},
		{"no slots", func(o *Options) { o.Concurrency = -1 }, "concurrency -1"},
		{"no batch", func(o *Options) { o.BatchMax = -2 }, "batch max -2"},
		{"negative drain limit", func(o *Options) { o.DrainLimit = -time.Second }, "drain limit -1s"},
		{"lease too short", func(o *Options) { o.ChargeTimeout = 26 * time.Second }, "26s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := env.options()
			c.change(&o)
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("error %v, want one with %q", err, c.words)
			}
		})
	}
	if _, err := New(env.options()); err != nil {
		t.Errorf("valid options: %v", err)
	}
}

func TestCheckLease(t *testing.T) {
	if err := CheckLease(25*time.Second, 30*time.Second); err != nil {
		t.Errorf("a charge time-out that just fits: %v", err)
	}
	err := CheckLease(25*time.Second+1, 30*time.Second)
	if err == nil || !strings.Contains(err.Error(), "30s") {
		t.Errorf("error %v, want one that names the lease", err)
	}
}

// payment.Circuit is a Breaker.
var _ Breaker = (*payment.Circuit)(nil)

func TestNoBreakerAllowsEverything(t *testing.T) {
	if n := (noBreaker{}).Slots(); n != math.MaxInt {
		t.Errorf("%d slots, want no bound", n)
	}
}

func TestSanitize(t *testing.T) {
	for _, c := range []struct{ text, method, want string }{
		{"plain", "tok", "plain"},
		{"two\nlines\x00", "", "two lines "},
		{"bad \xff utf8", "", "bad ? utf8"},
		{"token tok_1234 twice tok_1234", "tok_1234", "token [payment method] twice [payment method]"},
		{"declined", "e", "declined"},
		{strings.Repeat("x", maxReason), "", strings.Repeat("x", maxReason)},
		{strings.Repeat("x", maxReason+1), "", strings.Repeat("x", maxReason-1) + "…"},
	} {
		if got := cleanText(c.text, c.method); got != c.want {
			t.Errorf("cleanText(%q, %q) = %q, want %q", c.text, c.method, got, c.want)
		}
	}
}

func TestSweepTimer(t *testing.T) {
	for _, c := range []struct {
		name string
		set  []time.Duration // from now
		want time.Duration
	}{
		{"none", nil, 10 * time.Second},
		{"one", []time.Duration{3 * time.Second}, 3 * time.Second},
		{"the earliest", []time.Duration{5 * time.Second, 2 * time.Second, 4 * time.Second}, 2 * time.Second},
		{"later than the regular sweep", []time.Duration{11 * time.Second}, 10 * time.Second},
		{"past", []time.Duration{-time.Second}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, during := range []bool{false, true} { // before and during the wait
				synctest.Test(t, func(t *testing.T) {
					a := newSweepTimer()
					start := time.Now()
					set := func() {
						for _, d := range c.set {
							a.set(start.Add(d))
						}
					}
					if during {
						go func() { set() }()
					} else {
						set()
					}
					a.wait(t.Context(), 10*time.Second)
					if got := time.Since(start); got != c.want {
						t.Errorf("set during the wait: %t: woke after %s, want %s", during, got, c.want)
					}
					if c.want == 10*time.Second {
						return
					}
					again := time.Now()
					a.wait(t.Context(), 10*time.Second)
					if got := time.Since(again); got != 10*time.Second {
						t.Errorf("a second wait ended after %s, want 10s", got)
					}
				})
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		env.gateway.setCharge(mixedByID)
		registry := prometheus.NewPedanticRegistry()
		o := env.options()
		o.Registerer = registry
		w := env.worker(o)
		stop := env.run(w)
		ids := env.create(9)
		if err := env.bus.Publish(t.Context(), []bus.Message{{ID: "unreadable", Topic: bus.TopicJobs, Body: []byte("?")}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := (queueDepth{env.bus}).read(); n != 0 {
			t.Errorf("queue depth %v, want 0", n)
		}
		stop()
		failed := 0
		for _, id := range ids {
			if env.order(id).Status == order.Processing {
				failed++
			}
		}
		if failed != 3 {
			t.Fatalf("%d failed jobs, want 3", failed)
		}
		for name, c := range map[string]struct {
			got  prometheus.Collector
			want float64
		}{
			"claims":      {w.metrics.claims.WithLabelValues("charge"), 6 + 3*3},
			"paid":        {w.metrics.calls.WithLabelValues("charge", "succeeded"), 3},
			"declined":    {w.metrics.calls.WithLabelValues("charge", "declined"), 3},
			"no answer":   {w.metrics.calls.WithLabelValues("charge", "no_answer"), 3 * 3},
			"swept":       {w.metrics.swept, 3 * 2},
			"failed jobs": {w.metrics.failedJobs, 3},
			"unreadable":  {w.metrics.unreadable, 1},
			"unsettled":   {w.metrics.unsettled, 0},
		} {
			if got := testutil.ToFloat64(c.got); got != c.want {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("metrics: %v, error %v", problems, err)
		}
	})
}

// mixedByID charges a third of the orders, declines a third, and does not answer the others.
func mixedByID(_ context.Context, r payment.Request) (order.Outcome, error) {
	switch r.OrderID % 3 {
	case 0:
		return order.Succeeded, nil
	case 1:
		return order.Declined, nil
	default:
		return "", errReset
	}
}

func TestTransient(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errUnavailable, true},
		{fmt.Errorf("claim: %w", errUnavailable), true},
		{errReset, false},
		{order.NotFound("Order 1"), false},
	} {
		if got := transient(c.err); got != c.want {
			t.Errorf("transient(%v) = %t, want %t", c.err, got, c.want)
		}
	}
}
