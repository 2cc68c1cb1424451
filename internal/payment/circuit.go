package payment

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"orderflow/internal/order"
)

// Circuit decides whether calls of one kind may be started.
//
//	          rate of failures over Window               Delay is over
//	closed ─────────────────────────────────▶ open ─────────────────────▶ half-open
//	  ▲                                         ▲     a probe fails           │  │
//	  │                                         └─────────────────────────────┘  │
//	  └──────────────────────────────────────────────────────────────────────────┘
//	                            all Probes were answered
//
// A failure is a call that ended with an error, a time-out included. Declined is an answer, and a call that its caller
// cancelled says nothing about the gateway: it counts neither way, and a probe that ends so may be made again.
//
// The policy (what opens and closes) is the library's; the permits of half-open are counted here, for two reasons. The
// library gives a permit back only together with a verdict, and a cancelled probe has none. And it books an answer to
// whatever state it arrives in: a charge that was sent long before the breaker opened and times out while it is
// half-open would fail the probes and add a permit to them. Here each call remembers the era, the number of state
// changes so far, in which it began, and an answer from an earlier era counts for nothing.
//
// All methods may be called from any goroutine.
type Circuit struct {
	kind    order.PaymentKind
	options BreakerOptions
	state   atomic.Int32 // the policy's, as last observed; State reads it without mu, so that OnStateChange may ask

	mu         sync.Mutex // guards what follows; the policy is called with mu held, so its state changes nowhere else
	policy     circuitbreaker.CircuitBreaker[any]
	generation int           // raised by every change of state
	probes     int           // half-open: calls that may still be started
	ready      chan struct{} // closed while calls may be started
	isReady    bool          // whether ready is closed
}

func newCircuit(kind order.PaymentKind, options BreakerOptions) *Circuit {
	c := &Circuit{kind: kind, options: options, ready: make(chan struct{})}
	c.policy = circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(options.FailureRate, uint(options.MinCalls), options.Window).
		WithSuccessThreshold(uint(options.Probes)).
		WithDelay(options.Delay).
		Build()
	c.updateReady()
	return c
}

// Slots is how many calls may be started now: math.MaxInt while closed, the probes that are left while half-open, 0
// while open. Who claims no more than that is refused only when somebody else was faster.
func (c *Circuit) Slots() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots()
}

// Ready reports whether Slots is above 0. The channel is closed as soon as it is (at once, when it is already): wait
// on it, then ask again.
func (c *Circuit) Ready() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isReady, c.ready
}

// State is "closed", "open" or "half-open".
func (c *Circuit) State() string { return stateName(circuitbreaker.State(c.state.Load())) }

// verdict is what a call says about the gateway.
type callResult int

const (
	failed    callResult = iota // no answer
	answered                    // succeeded or declined
	cancelled                   // the caller cancelled: nothing
)

func (c *Circuit) call(
	ctx context.Context, request Request, do func(context.Context, Request) (Result, error),
) (result Result, err error) {
	era, ok := c.begin()
	if !ok {
		return Result{}, ErrOpen
	}
	v := failed // what a panic leaves
	defer func() { c.end(era, v) }()
	result, err = do(ctx, request)
	switch {
	case err == nil:
		v = answered
	case errors.Is(ctx.Err(), context.Canceled):
		v = cancelled
	}
	return result, err
}

// enter lets a call through and returns the era in which it begins, or refuses.
func (c *Circuit) begin() (era int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots() == 0 {
		return 0, false
	}
	if c.policy.IsHalfOpen() {
		c.probes--
		c.updateReady()
	}
	return c.generation, true
}

// leave books how a call ended.
func (c *Circuit) end(era int, v callResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.generation {
		return
	}
	switch v {
	case answered:
		c.policy.RecordSuccess()
	case failed:
		c.policy.RecordFailure()
	case cancelled:
		if c.policy.IsHalfOpen() {
			c.probes++
			c.updateReady()
		}
	}
	c.followPolicy()
}

// halfOpen is what the delay's timer calls. Nothing else leads out of open, so there is never more than one timer.
func (c *Circuit) halfOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy.HalfOpen()
	c.followPolicy()
}

// observe follows the policy into a new state, if it has changed. The caller holds mu.
func (c *Circuit) followPolicy() {
	now := c.policy.State()
	before := circuitbreaker.State(c.state.Swap(int32(now)))
	if now == before {
		return
	}
	c.generation++
	switch now {
	case circuitbreaker.OpenState:
		time.AfterFunc(c.options.Delay, c.halfOpen)
	case circuitbreaker.HalfOpenState:
		c.probes = c.options.Probes
	case circuitbreaker.ClosedState:
	}
	c.updateReady()
	if c.options.OnStateChange != nil {
		c.options.OnStateChange(c.kind, stateName(before), stateName(now))
	}
}

// slots is Slots for who holds mu.
func (c *Circuit) slots() int {
	switch c.policy.State() {
	case circuitbreaker.ClosedState:
		return math.MaxInt
	case circuitbreaker.HalfOpenState:
		return c.probes
	default:
		return 0
	}
}

// signal opens or shuts the ready channel as slots says. The caller holds mu.
func (c *Circuit) updateReady() {
	switch ready := c.slots() > 0; {
	case ready && !c.isReady:
		close(c.ready)
		c.isReady = true
	case !ready && c.isReady:
		c.ready = make(chan struct{})
		c.isReady = false
	}
}

func stateName(s circuitbreaker.State) string {
	switch s {
	case circuitbreaker.ClosedState:
		return StateClosed
	case circuitbreaker.HalfOpenState:
		return StateHalfOpen
	default:
		return StateOpen
	}
}
