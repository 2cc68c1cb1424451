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
// A failure is a call that ended with an error, including a time-out. Declined is an answer. A call cancelled by its caller counts
// neither way, and a cancelled probe may be repeated.
//
// The library's policy decides when the circuit opens and closes. The probes of the state half-open are counted here, for two
// reasons. The library returns a permit only together with a success or a failure, and a cancelled probe is neither. And it
// records a late result in whatever state it arrives: a charge sent before the circuit opened, which times out in the state
// half-open, would fail the probes and add a permit. Here each call remembers its generation, the number of state changes so far.
// The result of a call of an earlier generation is ignored.
//
// All methods are safe for concurrent use.
type Circuit struct {
	kind    order.PaymentKind
	options BreakerOptions
	state   atomic.Int32 // the policy's last known state; State reads it without mu, so that OnStateChange may call it

	mu         sync.Mutex // guards what follows; the policy is only called with mu held, so its state changes only then
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

// Slots returns how many calls may be started now: math.MaxInt while closed, the remaining probes while half-open, 0 while open.
func (c *Circuit) Slots() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots()
}

// Ready reports whether Slots is above 0. The channel is closed as soon as it is, or is closed already. After waiting for it, call
// Ready again.
func (c *Circuit) Ready() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isReady, c.ready
}

// State returns "closed", "open" or "half-open".
func (c *Circuit) State() string { return stateName(circuitbreaker.State(c.state.Load())) }

// callResult is the effect of a call on the failure rate.
type callResult int

const (
	failed    callResult = iota // no answer
	answered                    // succeeded or declined
	cancelled                   // the caller cancelled: nothing
)

func (c *Circuit) call(
	ctx context.Context, request Request, do func(context.Context, Request) (Result, error),
) (result Result, err error) {
	generation, ok := c.begin()
	if !ok {
		return Result{}, ErrOpen
	}
	counts := failed // in case of a panic
	defer func() { c.end(generation, counts) }()
	result, err = do(ctx, request)
	switch {
	case err == nil:
		counts = answered
	case errors.Is(ctx.Err(), context.Canceled):
		counts = cancelled
	}
	return result, err
}

// begin starts a call and returns its generation, or refuses the call.
func (c *Circuit) begin() (generation int, ok bool) {
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

// end records the result of a call.
func (c *Circuit) end(generation int, result callResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	switch result {
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

// halfOpen ends the state open. The timer of the delay calls it. Nothing else ends that state, so there is only one timer.
func (c *Circuit) halfOpen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy.HalfOpen()
	c.followPolicy()
}

// followPolicy updates the state after a call of the policy. The caller holds mu.
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

// slots is Slots for callers that hold mu.
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

// updateReady closes or replaces the ready channel according to slots. The caller holds mu.
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
