package payment

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// BreakerOptions say when a Breaker opens and how it closes again. A zero field stands for its default.
type BreakerOptions struct {
	FailureRate float64       // share of calls without an answer that opens it, above 0 to 1; default 0.5
	MinCalls    int           // answers or failures within Window before the rate counts; default 10
	Window      time.Duration // how far back the rate looks, at least 10 ms; default 30 s
	Delay       time.Duration // how long it stays open before it lets probes through; default 5 s
	Probes      int           // calls that must all be answered before it closes; default 3

	// OnStateChange, if set, is told of each change between "closed", "open" and "half-open", in their order. It is
	// called while the breaker is locked: it must be quick, and of the breaker's methods may call State alone.
	OnStateChange func(from, to string)
}

// The states, as State and OnStateChange spell them.
const (
	StateClosed   = "closed"
	StateOpen     = "open"
	StateHalfOpen = "half-open"
)

// Breaker is a Gateway that stops calling the one behind it while that gives no answers.
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
type Breaker struct {
	gateway Gateway
	options BreakerOptions
	state   atomic.Int32 // the policy's, as last observed; State reads it without mu, so that OnStateChange may ask

	mu        sync.Mutex // guards what follows; the policy is called with mu held, so its state changes nowhere else
	policy    circuitbreaker.CircuitBreaker[any]
	era       int           // raised by every change of state
	probes    int           // half-open: calls that may still be started
	ready     chan struct{} // closed while calls may be started
	signalled bool          // whether ready is closed
}

// NewBreaker puts a closed breaker before a gateway. It panics when an option is out of its range.
func NewBreaker(gateway Gateway, options BreakerOptions) *Breaker {
	options = options.withDefaults()
	if err := options.check(); err != nil {
		panic(err)
	}
	b := &Breaker{gateway: gateway, options: options, ready: make(chan struct{})}
	b.policy = circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(options.FailureRate, uint(options.MinCalls), options.Window).
		WithSuccessThreshold(uint(options.Probes)).
		WithDelay(options.Delay).
		Build()
	b.signal()
	return b
}

func (o BreakerOptions) withDefaults() BreakerOptions {
	if o.FailureRate == 0 {
		o.FailureRate = 0.5
	}
	if o.MinCalls == 0 {
		o.MinCalls = 10
	}
	if o.Window == 0 {
		o.Window = 30 * time.Second
	}
	if o.Delay == 0 {
		o.Delay = 5 * time.Second
	}
	if o.Probes == 0 {
		o.Probes = 3
	}
	return o
}

func (o BreakerOptions) check() error {
	switch {
	case !(o.FailureRate > 0 && o.FailureRate <= 1): // written so that NaN is refused
		return fmt.Errorf("payment: breaker: failure rate %v must be above 0 and at most 1", o.FailureRate)
	case o.MinCalls < 0 || o.Probes < 0:
		return fmt.Errorf("payment: breaker: min calls %d and probes %d must be at least 1", o.MinCalls, o.Probes)
	case o.Window < 10*time.Millisecond || o.Delay < 0:
		return fmt.Errorf("payment: breaker: window %v must be at least 10ms, delay %v not negative", o.Window, o.Delay)
	}
	return nil
}

// Charge charges through the gateway. It returns ErrOpen without calling it when no call may be started.
func (b *Breaker) Charge(ctx context.Context, request Request) (Result, error) {
	return b.call(ctx, request, Gateway.Charge)
}

// Void voids through the gateway. It returns ErrOpen without calling it when no call may be started.
func (b *Breaker) Void(ctx context.Context, request Request) (Result, error) {
	return b.call(ctx, request, Gateway.Void)
}

// Features are those of the gateway behind.
func (b *Breaker) Features() Features { return b.gateway.Features() }

// Slots is how many calls may be started now: math.MaxInt while closed, the probes that are left while half-open, 0
// while open. Who claims no more than that is refused only when somebody else was faster.
func (b *Breaker) Slots() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.slots()
}

// Ready reports whether Slots is above 0. The channel is closed as soon as it is (at once, when it is already): wait
// on it, then ask again.
func (b *Breaker) Ready() (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.signalled, b.ready
}

// State is "closed", "open" or "half-open".
func (b *Breaker) State() string { return spell(circuitbreaker.State(b.state.Load())) }

// verdict is what a call says about the gateway.
type verdict int

const (
	failed   verdict = iota // no answer
	answered                // succeeded or declined
	silent                  // the caller cancelled: nothing
)

func (b *Breaker) call(
	ctx context.Context, request Request, do func(Gateway, context.Context, Request) (Result, error),
) (result Result, err error) {
	era, ok := b.enter()
	if !ok {
		return Result{}, ErrOpen
	}
	v := failed // what a panic leaves
	defer func() { b.leave(era, v) }()
	result, err = do(b.gateway, ctx, request)
	switch {
	case err == nil:
		v = answered
	case errors.Is(ctx.Err(), context.Canceled):
		v = silent
	}
	return result, err
}

// enter lets a call through and returns the era in which it begins, or refuses.
func (b *Breaker) enter() (era int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.slots() == 0 {
		return 0, false
	}
	if b.policy.IsHalfOpen() {
		b.probes--
		b.signal()
	}
	return b.era, true
}

// leave books how a call ended.
func (b *Breaker) leave(era int, v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era != b.era {
		return
	}
	switch v {
	case answered:
		b.policy.RecordSuccess()
	case failed:
		b.policy.RecordFailure()
	case silent:
		if b.policy.IsHalfOpen() {
			b.probes++
			b.signal()
		}
	}
	b.observe()
}

// halfOpen is what the delay's timer calls. Nothing else leads out of open, so there is never more than one timer.
func (b *Breaker) halfOpen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy.HalfOpen()
	b.observe()
}

// observe follows the policy into a new state, if it has changed. The caller holds mu.
func (b *Breaker) observe() {
	now := b.policy.State()
	before := circuitbreaker.State(b.state.Swap(int32(now)))
	if now == before {
		return
	}
	b.era++
	switch now {
	case circuitbreaker.OpenState:
		time.AfterFunc(b.options.Delay, b.halfOpen)
	case circuitbreaker.HalfOpenState:
		b.probes = b.options.Probes
	case circuitbreaker.ClosedState:
	}
	b.signal()
	if b.options.OnStateChange != nil {
		b.options.OnStateChange(spell(before), spell(now))
	}
}

// slots is Slots for who holds mu.
func (b *Breaker) slots() int {
	switch b.policy.State() {
	case circuitbreaker.ClosedState:
		return math.MaxInt
	case circuitbreaker.HalfOpenState:
		return b.probes
	default:
		return 0
	}
}

// signal opens or shuts the ready channel as slots says. The caller holds mu.
func (b *Breaker) signal() {
	switch ready := b.slots() > 0; {
	case ready && !b.signalled:
		close(b.ready)
		b.signalled = true
	case !ready && b.signalled:
		b.ready = make(chan struct{})
		b.signalled = false
	}
}

func spell(s circuitbreaker.State) string {
	switch s {
	case circuitbreaker.ClosedState:
		return StateClosed
	case circuitbreaker.HalfOpenState:
		return StateHalfOpen
	default:
		return StateOpen
	}
}
