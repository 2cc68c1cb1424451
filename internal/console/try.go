package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// gatewayView is the part of the page Try it about the gateway and the orders that wait for it.
type gatewayView struct {
	State        string
	Errors       bool
	Delay        time.Duration
	BacklogKnown bool
	Backlog      order.Backlog
}

// Faulty reports whether a fault is injected.
func (g *gatewayView) Faulty() bool { return g.Errors || g.Delay > 0 }

// Waiting returns the number of orders that wait for their payment.
func (g *gatewayView) Waiting() int { return g.Backlog.Pending + g.Backlog.Processing }

// Capacity returns the number of waiting orders of a full bar.
func (g *gatewayView) Capacity() int { return max(manyOrders, g.Waiting()) }

// demoButton starts a kind of demo run.
type demoButton struct{ Kind, Label, Promise string }

func demoButtons() []demoButton {
	return []demoButton{
		{demoOrder, "Place an order", "One mouse for Alice. Its payment follows in a moment."},
		{demoRace, "Race for the last headphones", fmt.Sprintf("%d buyers order the last unit at once. Exactly one gets it.", crowdSize)},
		{
			demoRepeat, "Repeat one request",
			fmt.Sprintf("%d requests with the same idempotency key at once. They create exactly one order, and every response has it.", crowdSize),
		},
		{demoMany, "Place many orders", fmt.Sprintf("%d buyers order a mouse each: orders that wait while the gateway fails.", manyOrders)},
	}
}

// tryView is the data of the page Try it.
type tryView struct {
	Buttons []demoButton
	Last    *demoRun
	Running bool
	Gateway gatewayView
}

func (c *Console) showTry(rc *requestContext) (any, error) {
	view := &tryView{Buttons: demoButtons()}
	view.Last, view.Running = c.demo.latest()
	var err error
	view.Gateway, err = c.gatewayView(rc)
	return view, err
}

func (c *Console) gatewayView(rc *requestContext) (g gatewayView, err error) {
	g.State = c.options.Gateway.State()
	g.Errors, g.Delay = c.options.Gateway.Fault()
	g.Backlog, err = c.options.Store.Backlog(rc.r.Context())
	g.BacklogKnown = err == nil
	return g, err
}

// runDemo performs a demo run and shows its results.
func (c *Console) runDemo(rc *requestContext) (any, error) {
	defer rc.detach(runLimit + putBackLimit)()
	_, err := c.demo.run(rc.r.Context(), rc.r.PathValue("kind"))
	if err != nil || rc.fragment() {
		view, viewErr := c.showTry(rc)
		if err == nil {
			err = viewErr
		}
		return view, err
	}
	return nil, seeOther(Prefix + "/try")
}

// setFault injects a fault into the gateway, or removes it.
func (c *Console) setFault(rc *requestContext) (any, error) {
	values, err := rc.form()
	if err != nil {
		return nil, err
	}
	delay, most := time.Duration(0), c.options.Gateway.MaxDelay().Milliseconds()
	if text := strings.TrimSpace(values.Get("delay")); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 || ms > most {
			view, viewErr := c.showTry(rc)
			if viewErr != nil {
				return nil, viewErr
			}
			return view, order.Invalid("delay", fmt.Sprintf("must be from 0 to %d ms", most))
		}
		delay = time.Duration(ms) * time.Millisecond
	}
	c.options.Gateway.SetFault(values.Get("errors") == "true", delay)
	if rc.fragment() {
		return c.showTry(rc)
	}
	return nil, seeOther(Prefix + "/try")
}
