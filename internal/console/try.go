package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// Gateway is the simulated gateway of this process, whose faults can be switched while it works. Its methods may be called from
// any goroutine.
type Gateway interface {
	// State is that of the circuit breaker before it: closed, open or half-open.
	State() string
	// Fault says whether calls end with an error, and how long they are delayed.
	Fault() (errors bool, delay time.Duration)
	// MaxDelay is the longest delay that there is.
	MaxDelay() time.Duration
	// SetFault says so from now on.
	SetFault(errors bool, delay time.Duration)
}

// gatewayView is what the page Try it shows of the gateway and of what waits for it.
type gatewayView struct {
	State   string
	Errors  bool
	Delay   time.Duration
	Known   bool // the backlog is
	Backlog order.Backlog
}

// Broken reports whether a fault is on.
func (g *gatewayView) Broken() bool { return g.Errors || g.Delay > 0 }

// Waiting is how many orders wait for their payment.
func (g *gatewayView) Waiting() int { return g.Backlog.Pending + g.Backlog.Processing }

// Full is what a full bar of orders that wait stands for.
func (g *gatewayView) Full() int { return max(trialFlood, g.Waiting()) }

// kind is a trial that can be chosen.
type kind struct{ Kind, Button, Promise string }

func kinds() []kind {
	repeat := fmt.Sprintf("%d requests with one key at once. Exactly one order is made; all hear of it.", trialCrowd)
	return []kind{
		{trialOrder, "Place an order", "One mouse for Alice, who pays in a moment."},
		{trialRace, "Race for the last headphones", fmt.Sprintf("%d buyers order the last piece at once. Exactly one gets it.", trialCrowd)},
		{trialRepeat, "Send one order again and again", repeat},
		{trialMany, "Place many orders", fmt.Sprintf("%d buyers, a mouse each: something to charge while the gateway is broken.", trialFlood)},
	}
}

// tryView is what the page Try it shows.
type tryView struct {
	Kinds   []kind
	Last    *trial
	Running bool
	Gateway gatewayView
}

func (c *Console) showTry(v *requestContext) (any, error) {
	view := &tryView{Kinds: kinds()}
	view.Last, view.Running = c.trials.latest()
	var err error
	view.Gateway, err = c.gatewayView(v)
	return view, err
}

func (c *Console) gatewayView(v *requestContext) (g gatewayView, err error) {
	g.State = c.options.Try.State()
	g.Errors, g.Delay = c.options.Try.Fault()
	g.Backlog, err = c.options.Shop.Backlog(v.r.Context())
	g.Known = err == nil
	return g, err
}

// runTrial tries something and shows what came of it.
func (c *Console) runTrial(v *requestContext) (any, error) {
	defer v.outlive(trialLimit + putBackLimit)()
	_, err := c.trials.run(v.r.Context(), v.r.PathValue("kind"))
	if err != nil || v.fragment() {
		view, broken := c.showTry(v)
		if err == nil {
			err = broken
		}
		return view, err
	}
	return nil, seeOther(Prefix + "/try")
}

// setFault switches the gateway's faults.
func (c *Console) setFault(v *requestContext) (any, error) {
	values, err := v.form()
	if err != nil {
		return nil, err
	}
	delay, most := time.Duration(0), c.options.Try.MaxDelay().Milliseconds()
	if text := strings.TrimSpace(values.Get("delay")); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 || ms > most {
			view, broken := c.showTry(v)
			if broken != nil {
				return nil, broken
			}
			return view, order.Invalid("delay", fmt.Sprintf("must be from 0 to %d ms", most))
		}
		delay = time.Duration(ms) * time.Millisecond
	}
	c.options.Try.SetFault(values.Get("errors") == "true", delay)
	if v.fragment() {
		return c.showTry(v)
	}
	return nil, seeOther(Prefix + "/try")
}
