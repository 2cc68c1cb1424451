package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

var errReset = errors.New("connection reset")

// park brings an order to where an operator has to deal with it, and returns it with its dead letter.
func failJob(t *testing.T, h *testEnv) (id int64, job order.FailedJob) {
	t.Helper()
	h.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
	stop := h.run(h.worker(h.options()))
	id = h.create(1)[0]
	time.Sleep(time.Minute)
	synctest.Wait()
	stop()
	o := h.expect(id, order.Processing)
	if o.Claims != 3 || o.AttemptsLeft != 0 || !o.DueAt.IsZero() {
		t.Fatalf("the order has attempts %d, tries left %d, due %v; want 3, 0 and no due time", o.Claims, o.AttemptsLeft, o.DueAt)
	}
	jobs, err := h.failedJobs().List(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].OrderID != id {
		t.Fatalf("dead letters %+v, error %v; want one for order %d", jobs, err, id)
	}
	if jobs[0].Error != "connection reset" || jobs[0].Attempts != 3 {
		t.Errorf("the dead letter says %q after %d attempts, want the gateway's error after 3", jobs[0].Error, jobs[0].Attempts)
	}
	h.audit()
	return id, jobs[0]
}

func wantCode(t *testing.T, err error, code order.Code, words string) {
	t.Helper()
	if order.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v (%s), want %s with %q", err, order.CodeOf(err), code, words)
	}
}

func TestAParkedOrderIsTriedAgainWhenAnOperatorSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		id, job := failJob(t, h)
		h.gateway.setCharge(nil)
		o, err := h.failedJobs().Retry(t.Context(), job.ID)
		if err != nil || o.AttemptsLeft != 3 {
			t.Fatalf("retried: %+v, error %v", o, err)
		}
		_, err = h.failedJobs().Retry(t.Context(), job.ID)
		wantCode(t, err, order.CodeJobInProgress, "already resolved")
		stop := h.run(h.worker(h.options()))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		stop()
		h.expect(id, order.Paid)
		h.audit()
	})
}

func TestAnAbandonedOrderIsVoidedAndFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		id, job := failJob(t, h)
		o, err := h.failedJobs().Abandon(t.Context(), job.ID, "operator:ann")
		if err != nil || o.Status != order.Failed {
			t.Fatalf("abandoned: %+v, error %v", o, err)
		}
		calls := h.gateway.callsFor(id)
		if last := calls[len(calls)-1]; last.kind != order.KindVoid || last.attempt != 4 {
			t.Errorf("last call %+v, want a void of attempt 4", last)
		}
		events, err := h.store.Events(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if last := events[len(events)-1]; last.Type != order.OrderFailed || last.Actor != "operator:ann" || last.Trace.ID == "" {
			t.Errorf("last event %+v, want OrderFailed by operator:ann with a trace", last)
		}
		for product := range int64(4) {
			if left := h.stock(1 + product); left != plenty {
				t.Errorf("product %d has %d left, want %d", 1+product, left, plenty)
			}
		}
		_, err = h.failedJobs().Abandon(t.Context(), job.ID, "operator:ann")
		wantCode(t, err, order.CodeJobInProgress, "already resolved")
		h.audit()
	})
}

func TestAbandonLeavesTheOrderWhenTheVoidIsNotConfirmed(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		words string
	}{
		{"no answer", errReset, "did not confirm"},
		{"breaker open", payment.ErrOpen, "was not called"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newTestEnv(t)
				defer h.close()
				id, job := failJob(t, h)
				h.gateway.setVoid(func(context.Context, payment.Request) error { return c.err })
				var log strings.Builder
				desk := NewFailedJobService(FailedJobServiceOptions{
					Jobs: h.store, Gateway: h.gateway, Publisher: h.publisher, Installation: "inst", Logger: slog.New(slog.NewTextHandler(&log, nil)),
				})
				_, err := desk.Abandon(t.Context(), job.ID, "operator:ann")
				wantCode(t, err, order.CodeUnavailable, c.words)
				if want := fmt.Sprintf("event=payment.void_failed order_id=%d job_id=%d", id, job.ID); !strings.Contains(log.String(), want) {
					t.Errorf("the log lacks %s: %s", want, log.String())
				}
				if o := h.expect(id, order.Processing); !o.DueAt.IsZero() {
					t.Errorf("the order is due %v; want it to wait for an operator", o.DueAt)
				}
				h.audit()

				h.gateway.setVoid(nil)
				jobs, err := h.failedJobs().List(t.Context())
				if err != nil || len(jobs) != 1 {
					t.Fatalf("dead letters %+v, error %v; want the one", jobs, err)
				}
				if _, err := h.failedJobs().Abandon(t.Context(), jobs[0].ID, "operator:ann"); err != nil {
					t.Fatal(err)
				}
				h.expect(id, order.Failed)
				h.audit()
			})
		})
	}
}

// While an operator's lease lives, nobody else abandons or retries the order.
func TestAbandonIsRefusedWhileTheOrderIsWorkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		id, job := failJob(t, h)
		h.gateway.setVoid(func(ctx context.Context, _ payment.Request) error { return slow(ctx, time.Second) })
		go func() {
			if _, err := h.failedJobs().Abandon(context.Background(), job.ID, "operator:ann"); err != nil {
				t.Errorf("the first: %v", err)
			}
		}()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		_, err := h.failedJobs().Abandon(t.Context(), job.ID, "operator:bob")
		wantCode(t, err, order.CodeJobInProgress, "")
		_, err = h.failedJobs().Retry(t.Context(), job.ID)
		wantCode(t, err, order.CodeJobInProgress, "")
		time.Sleep(time.Second)
		synctest.Wait()
		h.expect(id, order.Failed)
		h.audit()
	})
}

// An operator who goes away does not leave the order half abandoned.
func TestAbandonIsBroughtToItsEndWhenTheOperatorLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		id, job := failJob(t, h)
		h.gateway.setVoid(func(ctx context.Context, _ payment.Request) error { return slow(ctx, time.Second) })
		ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer leave()
		if _, err := h.failedJobs().Abandon(ctx, job.ID, "operator:ann"); err != nil {
			t.Fatal(err)
		}
		h.expect(id, order.Failed)
	})
}

// The void was made: that another transaction keeps the order's row locked for a while must not lose its record.
func TestAbandonKeepsTheAnswerOfALockedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestEnv(t)
		defer h.close()
		id, job := failJob(t, h)
		desk := NewFailedJobService(FailedJobServiceOptions{Jobs: &lockedOnce{FailedJobStore: h.store}, Gateway: h.gateway, Publisher: h.publisher, Installation: "inst"})
		if _, err := desk.Abandon(t.Context(), job.ID, "operator:ann"); err != nil {
			t.Fatal(err)
		}
		h.expect(id, order.Failed)
		h.audit()
	})
}

// lockedOnce is a store in which another transaction keeps the order of the first settlement locked.
type lockedOnce struct {
	FailedJobStore
	asked bool
}

func (l *lockedOnce) SettleOrders(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error) {
	if !l.asked {
		l.asked = true
		return []order.Changed{{Err: order.LockedOrder(settlements[0].OrderID)}}, order.EventBatch{}, nil
	}
	return l.FailedJobStore.SettleOrders(ctx, settlements)
}

func TestTheDeskKnowsNoSuchJob(t *testing.T) {
	h := newTestEnv(t)
	defer h.close()
	_, err := h.failedJobs().Retry(t.Context(), 99)
	wantCode(t, err, order.CodeNotFound, "99")
	_, err = h.failedJobs().Abandon(t.Context(), 99, "operator:ann")
	wantCode(t, err, order.CodeNotFound, "99")
}
