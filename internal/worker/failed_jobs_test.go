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

// failJob lets the payment of an order use up its attempts, and returns the order with its failed job.
func failJob(t *testing.T, env *testEnv) (id int64, job order.FailedJob) {
	t.Helper()
	env.gateway.setCharge(func(context.Context, payment.Request) (order.Outcome, error) { return "", errReset })
	stop := env.run(env.worker(env.options()))
	id = env.create(1)[0]
	time.Sleep(time.Minute)
	synctest.Wait()
	stop()
	o := env.expect(id, order.Processing)
	if o.Claims != 3 || o.AttemptsLeft != 0 || !o.DueAt.IsZero() {
		t.Fatalf("the order has claims %d, attempts left %d, due %v; want 3, 0 and no due time", o.Claims, o.AttemptsLeft, o.DueAt)
	}
	jobs, err := env.failedJobs().List(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].OrderID != id {
		t.Fatalf("failed jobs %+v, error %v; want one for order %d", jobs, err, id)
	}
	if jobs[0].Error != "connection reset" || jobs[0].Attempts != 3 {
		t.Errorf("the failed job has the error %q after %d attempts, want the gateway's error after 3", jobs[0].Error, jobs[0].Attempts)
	}
	env.audit()
	return id, jobs[0]
}

func wantCode(t *testing.T, err error, code order.Code, words string) {
	t.Helper()
	if order.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v (%s), want %s with %q", err, order.CodeOf(err), code, words)
	}
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		id, job := failJob(t, env)
		env.gateway.setCharge(nil)
		o, err := env.failedJobs().Retry(t.Context(), job.ID)
		if err != nil || o.AttemptsLeft != 3 {
			t.Fatalf("retried: %+v, error %v", o, err)
		}
		_, err = env.failedJobs().Retry(t.Context(), job.ID)
		wantCode(t, err, order.CodeJobInProgress, "already resolved")
		stop := env.run(env.worker(env.options()))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		stop()
		env.expect(id, order.Paid)
		env.audit()
	})
}

func TestAbandonVoidsAndFailsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		id, job := failJob(t, env)
		o, err := env.failedJobs().Abandon(t.Context(), job.ID, "operator:ann")
		if err != nil || o.Status != order.Failed {
			t.Fatalf("abandoned: %+v, error %v", o, err)
		}
		calls := env.gateway.callsFor(id)
		if last := calls[len(calls)-1]; last.kind != order.KindVoid || last.attempt != 4 {
			t.Errorf("last call %+v, want a void of attempt 4", last)
		}
		events, err := env.store.Events(t.Context(), id, 0)
		if err != nil {
			t.Fatal(err)
		}
		if last := events[len(events)-1]; last.Type != order.OrderFailed || last.Actor != "operator:ann" || last.Trace.ID == "" {
			t.Errorf("last event %+v, want OrderFailed by operator:ann with a trace", last)
		}
		for product := range int64(4) {
			if left := env.stock(1 + product); left != plenty {
				t.Errorf("product %d has %d left, want %d", 1+product, left, plenty)
			}
		}
		_, err = env.failedJobs().Abandon(t.Context(), job.ID, "operator:ann")
		wantCode(t, err, order.CodeJobInProgress, "already resolved")
		env.audit()
	})
}

func TestAbandonWithoutConfirmationChangesNothing(t *testing.T) {
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
				env := newTestEnv(t)
				defer env.close()
				id, job := failJob(t, env)
				env.gateway.setVoid(func(context.Context, payment.Request) error { return c.err })
				var log strings.Builder
				service := NewFailedJobService(FailedJobServiceOptions{
					Jobs: env.store, Gateway: env.gateway, Publisher: env.publisher, Installation: "inst", Logger: slog.New(slog.NewTextHandler(&log, nil)),
				})
				_, err := service.Abandon(t.Context(), job.ID, "operator:ann")
				wantCode(t, err, order.CodeUnavailable, c.words)
				if want := fmt.Sprintf("event=payment.void_failed order_id=%d job_id=%d", id, job.ID); !strings.Contains(log.String(), want) {
					t.Errorf("the log lacks %s: %s", want, log.String())
				}
				if o := env.expect(id, order.Processing); !o.DueAt.IsZero() {
					t.Errorf("the order is due %v; want it to wait for an operator", o.DueAt)
				}
				env.audit()

				env.gateway.setVoid(nil)
				jobs, err := env.failedJobs().List(t.Context())
				if err != nil || len(jobs) != 1 {
					t.Fatalf("failed jobs %+v, error %v; want one", jobs, err)
				}
				if _, err := env.failedJobs().Abandon(t.Context(), jobs[0].ID, "operator:ann"); err != nil {
					t.Fatal(err)
				}
				env.expect(id, order.Failed)
				env.audit()
			})
		})
	}
}

// During an operator's lease, no other operator can abandon or retry the order.
func TestAbandonIsRefusedDuringAnotherAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		id, job := failJob(t, env)
		env.gateway.setVoid(func(ctx context.Context, _ payment.Request) error { return slow(ctx, time.Second) })
		go func() {
			if _, err := env.failedJobs().Abandon(context.Background(), job.ID, "operator:ann"); err != nil {
				t.Errorf("the first: %v", err)
			}
		}()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		_, err := env.failedJobs().Abandon(t.Context(), job.ID, "operator:bob")
		wantCode(t, err, order.CodeJobInProgress, "")
		_, err = env.failedJobs().Retry(t.Context(), job.ID)
		wantCode(t, err, order.CodeJobInProgress, "")
		time.Sleep(time.Second)
		synctest.Wait()
		env.expect(id, order.Failed)
		env.audit()
	})
}

// An abandon is finished even if the operator disconnects.
func TestAbandonFinishesWhenTheOperatorLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		id, job := failJob(t, env)
		env.gateway.setVoid(func(ctx context.Context, _ payment.Request) error { return slow(ctx, time.Second) })
		ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer leave()
		if _, err := env.failedJobs().Abandon(ctx, job.ID, "operator:ann"); err != nil {
			t.Fatal(err)
		}
		env.expect(id, order.Failed)
	})
}

// The void was made: a locked row must not lose its record.
func TestAbandonRetriesTheSettlementOfALockedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := newTestEnv(t)
		defer env.close()
		id, job := failJob(t, env)
		service := NewFailedJobService(FailedJobServiceOptions{Jobs: &lockedOnce{FailedJobStore: env.store}, Gateway: env.gateway, Publisher: env.publisher, Installation: "inst"})
		if _, err := service.Abandon(t.Context(), job.ID, "operator:ann"); err != nil {
			t.Fatal(err)
		}
		env.expect(id, order.Failed)
		env.audit()
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

func TestUnknownFailedJob(t *testing.T) {
	env := newTestEnv(t)
	defer env.close()
	_, err := env.failedJobs().Retry(t.Context(), 99)
	wantCode(t, err, order.CodeNotFound, "99")
	_, err = env.failedJobs().Abandon(t.Context(), 99, "operator:ann")
	wantCode(t, err, order.CodeNotFound, "99")
}
