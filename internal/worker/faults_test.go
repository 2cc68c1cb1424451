package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/payment"
)

func TestAnOpenBreakerStopsClaimingAndBurnsNoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
		breaker := payment.NewBreaker(h.gateway, payment.BreakerOptions{MinCalls: 10, Delay: 20 * time.Second, Probes: 3})
		o := h.options()
		o.Gateway, o.Breaker, o.VoidBreaker, o.Concurrency = breaker, breaker.Charges(), breaker.Voids(), 10
		w := h.worker(o)
		stop := h.run(w)
		tried := h.create(10)
		synctest.Wait() // ten failures: the breaker opens
		if state := breaker.Charges().State(); state != payment.StateOpen {
			t.Fatalf("the breaker is %s, want it open", state)
		}
		waiting := h.create(30)
		time.Sleep(15 * time.Second) // longer than the backoff and the grace
		synctest.Wait()
		if n := h.gateway.count(); n != 10 {
			t.Errorf("the gateway was called %d times, want the 10 that opened the breaker", n)
		}
		for _, id := range waiting {
			if o := h.expect(id, order.Pending); o.Claims != 0 {
				t.Errorf("order %d was claimed %d times while the breaker was open", id, o.Claims)
			}
		}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 50*time.Millisecond)
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, id := range append(tried, waiting...) {
			h.expect(id, order.Paid)
		}
		// Consumer and sweeper want the probes at the same moment, and share them. (A claim may slip in between a call's
		// start here and its start in the breaker.)
		if n := testutil.ToFloat64(w.metrics.calls.WithLabelValues("charge", "handed_back")); n > 2 {
			t.Errorf("%v claims were handed back, want none to speak of", n)
		}
		for _, id := range waiting {
			if left := h.order(id).AttemptsLeft; left != h.rules.PaymentAttempts-1 {
				t.Errorf("order %d has %d tries left, want %d: one charge, one try", id, left, h.rules.PaymentAttempts-1)
			}
		}
		stop()
		h.audit()
	})
}

// The consumer asked for many messages while the breaker was closed and got them when it was open: they wait unclaimed,
// and go through as the probes allow.
func TestWhatWasFetchedBeforeTheBreakerOpenedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		breaker := payment.NewBreaker(h.gateway, payment.BreakerOptions{MinCalls: 10, Delay: 5 * time.Second, Probes: 3})
		o := h.options()
		o.Gateway, o.Breaker, o.VoidBreaker = breaker, breaker.Charges(), breaker.Voids()
		w := h.worker(o)
		stop := h.run(w)
		synctest.Wait() // the consumer waits for up to 16 messages
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
		for range 10 { // somebody else's calls
			_, err := breaker.Charge(t.Context(), payment.Request{Key: "other", OrderID: -1})
			if !errors.Is(err, errReset) {
				t.Fatalf("error %v, want the gateway's", err)
			}
		}
		ids := h.create(12)
		synctest.Wait()
		for _, id := range ids {
			h.expect(id, order.Pending)
		}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Second)
		})
		time.Sleep(5500 * time.Millisecond)
		synctest.Wait()
		claimed := 0
		for _, id := range ids {
			claimed += h.order(id).Claims
		}
		if claimed < 3 || claimed > 5 { // a few may slip in between a call's start here and in the breaker
			t.Errorf("%d claims while 3 probes are under way, want 3", claimed)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, id := range ids {
			h.expect(id, order.Paid)
		}
		stop()
		h.audit()
	})
}

// A breaker that opens between claim and charge costs the order no try.
func TestAClaimThatTheBreakerRefusesIsHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var refusals atomic.Int64
		refusals.Store(2)
		h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) {
			if refusals.Add(-1) >= 0 {
				return "", fmt.Errorf("charge: %w", payment.ErrOpen)
			}
			return order.Succeeded, nil
		})
		stop := h.run(h.worker(h.options()))
		id := h.create(1)[0]
		time.Sleep(5 * time.Second)
		synctest.Wait()
		stop()
		if o := h.expect(id, order.Paid); o.Claims != 3 || o.AttemptsLeft != h.rules.PaymentAttempts-1 {
			t.Errorf("attempts %d, tries left %d; want 3 claims, one try", o.Claims, o.AttemptsLeft)
		}
		h.audit()
	})
}

func TestMessagesThatComeAgainOrOutOfOrderAreHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(4)
		paid, cancelled, held, gone := ids[0], ids[1], ids[2], int64(987_654)
		if _, _, err := h.store.CancelOrders(t.Context(), []order.CancelRequest{{OrderID: cancelled, Actor: "user:1"}}); err != nil {
			t.Fatal(err)
		}
		h.claim(held) // another worker has it
		stop := h.run(h.worker(h.options()))
		defer stop()
		synctest.Wait()
		h.expect(paid, order.Paid)

		var again []bus.Message
		for range 3 {
			for _, id := range []int64{gone, held, cancelled, paid, ids[3]} {
				e := order.Event{OrderID: id, Seq: 1, Type: order.OrderCreated, UserID: 1, Total: 1, Currency: "USD", At: time.Now()}
				again = append(again, bus.Message{ID: e.ID(), Key: fmt.Sprint(id), Topic: bus.TopicJobs, Body: e.Append(nil)})
			}
		}
		again = append(again, bus.Message{ID: "poison", Topic: bus.TopicJobs, Body: []byte("{not an event")})
		before := h.gateway.count()
		if err := h.bus.Publish(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		after := h.create(1)[0]
		synctest.Wait()
		if n := h.gateway.count() - before; n != 1 {
			t.Errorf("%d calls to the gateway, want the one for the new order", n)
		}
		h.expect(after, order.Paid)
		h.expect(paid, order.Paid)
		h.expect(cancelled, order.Cancelled)
		h.expect(held, order.Processing)
		if left := h.queueDepth(); left != (bus.Depth{}) {
			t.Errorf("the bus still has %+v, want all acknowledged", left)
		}
		stop()
		h.audit()
	})
}

// The lease ran out, another attempt is under way, and then the first one answers: it is the same charge, so it settles
// the order.
func TestALateAnswerSettles(t *testing.T) {
	for _, c := range []struct {
		outcome order.Outcome
		want    order.Status
	}{{order.Succeeded, order.Paid}, {order.Declined, order.Failed}} {
		t.Run(string(c.outcome), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTestEnv(t)
				defer h.close()
				id := h.create(1)[0]
				first := h.claim(id)
				time.Sleep(h.rules.Lease + time.Second)
				second := h.claim(id)
				if first.Task != order.TaskCharge || second.Task != order.TaskCharge {
					t.Fatalf("claims gave %q and %q, want two charges", first.Task, second.Task)
				}
				h.report(first, c.outcome)
				h.expect(id, c.want)
				h.report(second, c.outcome)
				h.expect(id, c.want)
				h.audit()
			})
		})
	}
}

func TestAChargeAfterTheOrderFailedIsVoidedUntilThatIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var voids atomic.Int64
		h.gateway.setVoid(func(context.Context, payment.Request) error {
			if voids.Add(1) < 4 {
				return errReset
			}
			return nil
		})
		id := h.create(1)[0]
		first := h.claim(id)
		time.Sleep(h.rules.Lease + time.Second)
		second := h.claim(id)
		h.report(second, order.Declined)
		h.expect(id, order.Failed)
		stop := h.run(h.worker(h.options()))
		h.report(first, order.Succeeded)
		h.gateway.charge(fmt.Sprintf("inst-%d", id), order.Succeeded)
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		if o := h.expect(id, order.Failed); !o.DueAt.IsZero() {
			t.Errorf("a void is still owed at %v", o.DueAt)
		}
		if got := h.gateway.key(id); got.charged || voids.Load() != 4 {
			t.Errorf("charged: %t after %d voids; want the money back after 4", got.charged, voids.Load())
		}
		h.audit()
	})
}

func TestWhatGoesWrongInACallIsThatCallsError(t *testing.T) {
	long := strings.Repeat("é", 300)
	for _, c := range []struct {
		name   string
		fate   func(ctx context.Context) (order.Outcome, error)
		reason string
	}{
		{"time-out", func(ctx context.Context) (order.Outcome, error) { return "", slow(ctx, time.Hour) }, "no answer within 10s"},
		{"panic", func(context.Context) (order.Outcome, error) { panic("boom") }, "internal error of the gateway"},
		{"nonsense", func(context.Context) (order.Outcome, error) { return "perhaps", nil }, `the gateway returned the unknown outcome "perhaps"`},
		{"secret", func(context.Context) (order.Outcome, error) { return "", errors.New("no token tok_secret\nhere") }, "no token [payment method] here"},
		{"long", func(context.Context) (order.Outcome, error) { return "", errors.New(long) }, strings.Repeat("é", maxReason-1) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTestEnv(t)
				defer h.close()
				o := h.options()
				o.Gateway = raw(func(ctx context.Context) (order.Outcome, error) { return c.fate(ctx) })
				o.Rules.PaymentAttempts = 3
				stop := h.run(h.worker(o))
				id := h.create(1)[0]
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				stop()
				h.expect(id, order.Processing)
				jobs, err := h.failedJobs().List(t.Context())
				if err != nil || len(jobs) != 1 {
					t.Fatalf("dead letters %+v, error %v; want one", jobs, err)
				}
				if jobs[0].Error != c.reason {
					t.Errorf("the reason is %q, want %q", jobs[0].Error, c.reason)
				}
				if utf8.RuneCountInString(jobs[0].Error) > maxReason {
					t.Errorf("the reason is longer than %d characters", maxReason)
				}
				h.audit()
			})
		})
	}
}

// raw is a gateway that says exactly what the test wants, sense or not.
type raw func(ctx context.Context) (order.Outcome, error)

func (r raw) Charge(ctx context.Context, _ payment.Request) (payment.Result, error) {
	outcome, err := r(ctx)
	return payment.Result{Outcome: outcome}, err
}

func (r raw) Void(ctx context.Context, request payment.Request) (payment.Result, error) {
	return r.Charge(ctx, request)
}

func (raw) Features() payment.Features { return payment.Features{} }

// Charges that hang take their own slots and nobody else's, and there are never more in flight than slots.
func TestSlowChargesHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		slowOnes := map[int64]bool{}
		h.gateway.setCharge(func(ctx context.Context, r payment.Request) (order.Outcome, error) {
			if slowOnes[r.OrderID] {
				return order.Succeeded, slow(ctx, 9*time.Second)
			}
			return order.Succeeded, slow(ctx, 10*time.Millisecond)
		})
		o := h.options()
		o.Concurrency = 8
		hanging := h.create(7)
		for _, id := range hanging {
			slowOnes[id] = true
		}
		stop := h.run(h.worker(o))
		synctest.Wait()
		quick := h.create(50)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, id := range quick {
			h.expect(id, order.Paid)
		}
		for _, id := range hanging {
			h.expect(id, order.Processing)
		}
		if h.gateway.most != 8 {
			t.Errorf("at most %d charges in flight, want the 8 slots used and no more", h.gateway.most)
		}
		stop()
		h.audit()
	})
}

// Orders whose message was lost are found by the sweeper when their grace is over, by several workers at once, each by
// one.
func TestLostMessagesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		lost := h.publisher
		ids := h.create(100)
		if lost.Waiting() == 0 {
			t.Fatal("nothing was handed to the publisher")
		}
		h.publisher = h.newPublisher() // the process died with its queue
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, 20*time.Millisecond)
		})
		stop := h.run(h.worker(h.options()), h.worker(h.options()), h.worker(h.options()))
		time.Sleep(h.rules.Grace + 3*time.Second)
		synctest.Wait()
		stop()
		for _, id := range ids {
			h.expect(id, order.Paid)
			if n := len(h.gateway.callsFor(id)); n != 1 {
				t.Errorf("order %d was charged %d times, want once", id, n)
			}
		}
		h.audit()
	})
}

// Many orders that are due are worked on one roundful after the other, without a pause between.
func TestTheSweeperGoesOnWhileItFindsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(100)
		h.publisher = h.newPublisher() // the process died with its queue
		time.Sleep(h.rules.Grace)
		stop := h.run(h.worker(h.options()))
		synctest.Wait() // the clock stands still
		for _, id := range ids {
			h.expect(id, order.Paid)
		}
		events, err := h.store.Events(t.Context(), ids[0], 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Actor != "worker:test" || e.Trace.ID != "trace-1" {
				t.Errorf("%s by %q of %q, want by worker:test of the order's own trace", e.Type, e.Actor, e.Trace.ID)
			}
		}
		stop()
		h.audit()
	})
}

// What waits on the bus while a claim commits is claimed in one transaction after it, as far as there are slots.
func TestWaitingOrdersAreClaimedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		var mu sync.Mutex
		var sizes []int
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			mu.Lock()
			first := len(sizes) == 0
			sizes = append(sizes, len(requests))
			mu.Unlock()
			if first { // the committer may take a request before those that were handed in with it have arrived
				time.Sleep(100 * time.Millisecond)
			}
			return h.store.ClaimOrders(ctx, requests)
		}}
		h.gateway.setCharge(func(ctx context.Context, _ payment.Request) (order.Outcome, error) {
			return order.Succeeded, slow(ctx, time.Second)
		})
		// The sweeper finds one order before there is anything on the bus, so that the committer is busy when the others come.
		lost := h.create(1)
		h.publisher = h.newPublisher() // its message is lost
		time.Sleep(h.rules.Grace)
		stop := h.run(h.worker(o))
		synctest.Wait()
		ids := h.create(20)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		if !slices.Equal(sizes, []int{1, 15}) {
			t.Errorf("claims of %v orders, want one of the order that was due, and one of the 15 that there are slots for", sizes)
		}
		mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		for _, id := range append(ids, lost...) {
			h.expect(id, order.Paid)
		}
		stop()
	})
}

// A claim or settlement that fails alone takes nobody with it.
func TestAFaultOfOneOrderStaysItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		ids := h.create(12)
		bad := ids[5]
		var faulty atomic.Bool
		faulty.Store(true)
		o := h.options()
		o.Orders = &wrapped{Orders: h.store, claim: func(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error) {
			for _, r := range requests {
				if r.OrderID == bad && faulty.Load() {
					return nil, order.EventBatch{}, errors.New("a row that cannot be read")
				}
			}
			return h.store.ClaimOrders(ctx, requests)
		}}
		stop := h.run(h.worker(o))
		synctest.Wait()
		for _, id := range ids {
			if id != bad {
				h.expect(id, order.Paid)
			}
		}
		h.expect(bad, order.Pending)
		time.Sleep(h.rules.Grace + 5*time.Second)
		faulty.Store(false)
		time.Sleep(backoffLast + 2*time.Second)
		synctest.Wait()
		stop()
		h.expect(bad, order.Paid)
		h.audit()
	})
}

// A gateway of every behaviour, crashes of it included, and three workers: each order ends, and the books and the bank
// agree to the cent.
func TestAThousandOrdersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		random := rand.New(rand.NewPCG(1, 2))
		h.gateway.setCharge(mixed(h.gateway, random))
		o := h.options()
		o.Concurrency = 64
		stop := h.run(h.worker(o), h.worker(o), h.worker(o))
		var ids []int64
		for range 20 {
			ids = append(ids, h.create(50)...)
			time.Sleep(100 * time.Millisecond)
		}
		ended := func() bool {
			for _, id := range ids {
				if o := h.order(id); !o.Status.Terminal() && !o.DueAt.IsZero() {
					return false
				}
			}
			return true
		}
		for minutes := 0; !ended(); minutes++ {
			if minutes > 10 {
				t.Fatal("orders are still open after ten minutes")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		stop()
		statuses := map[order.Status]int{}
		for _, id := range ids {
			o := h.order(id)
			statuses[o.Status]++
			if got := h.gateway.key(id); got.charges > 1 || (o.Status == order.Paid) != (got.charged && o.Status.Terminal()) {
				t.Errorf("order %d is %s, the bank charged it %d times, charged now: %t", id, o.Status, got.charges, got.charged)
			}
		}
		if statuses[order.Paid] == 0 || statuses[order.Failed] == 0 || statuses[order.Processing] == 0 {
			t.Errorf("statuses %v: the mix did not reach each end", statuses)
		}
		h.audit()
	})
}

// mixed is a fate for each call by lot: most succeed, some are declined, some break before or after the money moved,
// some hang or panic.
func mixed(b *fakeGateway, random *rand.Rand) func(ctx context.Context, r payment.Request) (order.Outcome, error) {
	return func(ctx context.Context, r payment.Request) (order.Outcome, error) {
		b.mu.Lock()
		lot, wait := random.IntN(100), time.Duration(random.IntN(300))*time.Millisecond
		b.mu.Unlock()
		if err := slow(ctx, wait); err != nil {
			return "", err
		}
		switch {
		case lot < 50:
			return order.Succeeded, nil
		case lot < 60:
			return order.Declined, nil
		case lot < 75:
			return "", errReset
		case lot < 90:
			b.charge(r.Key, order.Succeeded) // the money moved, the answer got lost
			return "", errReset
		case lot < 95:
			return "", slow(ctx, time.Hour)
		default:
			panic("a bug in the gateway")
		}
	}
}
