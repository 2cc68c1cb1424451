package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/google/uuid"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// FailedJobStore has the database operations that a FailedJobService needs.
type FailedJobStore interface {
	FailedJobs(ctx context.Context, openOnly bool, limit int) ([]order.FailedJob, error)
	FailedJob(ctx context.Context, id int64) (order.FailedJob, error)
	RetryOrders(ctx context.Context, ids []int64) ([]order.Changed, error)
	ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error)
	SettleOrders(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error)
}

// MaxListed is the most failed jobs that List returns.
const MaxListed = 1000

// FailedJobServiceOptions configure a FailedJobService.
type FailedJobServiceOptions struct {
	Jobs          FailedJobStore  // required
	Gateway       payment.Gateway // required
	Publisher     Publisher       // nil: the relay of a running server publishes the events
	Installation  string          // required; the same as the workers'
	ChargeTimeout time.Duration   // most time of a void; 0 for DefaultChargeTimeout
	Logger        *slog.Logger    // nil for no log
}

// FailedJobService lists, retries and abandons failed jobs: orders whose payment used up its attempts. It needs no running Worker. All
// methods are safe for concurrent use.
type FailedJobService struct {
	jobs      FailedJobStore
	publisher Publisher
	caller    caller
}

// NewFailedJobService returns a FailedJobService.
func NewFailedJobService(o FailedJobServiceOptions) *FailedJobService {
	if o.Publisher == nil {
		o.Publisher = noPublisher{}
	}
	if o.ChargeTimeout == 0 {
		o.ChargeTimeout = DefaultChargeTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &FailedJobService{o.Jobs, o.Publisher, caller{o.Gateway, o.Installation, o.ChargeTimeout, o.Logger}}
}

// List returns the open failed jobs, at most MaxListed of them.
func (f *FailedJobService) List(ctx context.Context) ([]order.FailedJob, error) {
	return f.jobs.FailedJobs(ctx, true, MaxListed)
}

// Retry gives the order of a failed job all its payment attempts again, due at once, and returns the order. The error has CodeNotFound, or
// CodeJobInProgress when the job is resolved or its order is being processed.
func (f *FailedJobService) Retry(ctx context.Context, jobID int64) (*order.Order, error) {
	job, err := f.openJob(ctx, jobID)
	if err != nil {
		return nil, err
	}
	changed, err := f.jobs.RetryOrders(ctx, []int64{job.OrderID})
	if err != nil {
		return nil, err
	}
	if err := changed[0].Err; err != nil {
		return nil, err
	}
	f.caller.log.InfoContext(ctx, "An operator retried a failed job.", "event", "payment.retried", "order_id", job.OrderID, "job_id", jobID)
	return changed[0].Order, nil
}

// Abandon voids the charge of a failed job at the gateway. After the gateway's confirmation the order is FAILED and its units are
// back in stock. The history names the operator. Abandon finishes even if ctx ends meanwhile.
//
// The error has CodeNotFound; CodeJobInProgress when the job is resolved or its order is being processed; or CodeUnavailable when
// the gateway did not confirm the void or the database could not record it. The order then stays as it was and can be
// abandoned or retried again; after a failure to record, only once the operator's lease has expired.
func (f *FailedJobService) Abandon(ctx context.Context, jobID int64, operator string) (*order.Order, error) {
	job, err := f.openJob(ctx, jobID)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	trace := order.Trace{ID: uuid.NewString()} // a trace of the operator's own, not of the order's creation
	claimed, events, err := f.jobs.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: job.OrderID, Abandon: true, Actor: operator, Trace: trace}})
	if err != nil {
		return nil, err
	}
	f.publisher.Publish(events)
	if err := claimed[0].Err; err != nil {
		return nil, err
	}
	s := settlement(claimed[0], operator)
	f.caller.call(ctx, claimed[0].Order, &s)
	if s.Outcome != order.Succeeded {
		f.caller.log.WarnContext(ctx, "The gateway did not confirm a void. The failed job waits for an operator again.",
			"event", "payment.void_failed",
			"order_id", s.OrderID, "job_id", jobID, "trace_id", s.Trace.ID, "operator", operator, "outcome", string(s.Outcome), "error", s.Reason)
	}
	o, err := f.settle(ctx, s)
	if err != nil {
		return nil, err
	}
	return f.abandoned(ctx, s, o)
}

// openJob returns a job that waits for an operator.
func (f *FailedJobService) openJob(ctx context.Context, jobID int64) (order.FailedJob, error) {
	job, err := f.jobs.FailedJob(ctx, jobID)
	if err != nil {
		return order.FailedJob{}, err
	}
	if !job.ResolvedAt.IsZero() {
		return order.FailedJob{}, order.Errorf(order.CodeJobInProgress, "Failed job %d is already resolved (%s).", jobID, job.Resolution)
	}
	return job, nil
}

// settle records the outcome of a void. It retries for a few seconds only, since an operator waits.
func (f *FailedJobService) settle(ctx context.Context, s order.Settlement) (*order.Order, error) {
	retries := retrypolicy.NewBuilder[order.Changed]().HandleIf(func(_ order.Changed, err error) bool { return err != nil && transient(err) }).
		WithMaxRetries(settleRetries).WithBackoff(firstPause, lastPause).ReturnLastFailure().Build()
	settled, err := failsafe.With(retries).Get(func() (order.Changed, error) {
		changed, events, err := f.jobs.SettleOrders(ctx, []order.Settlement{s})
		if err != nil {
			return order.Changed{}, err
		}
		f.publisher.Publish(events)
		if errors.Is(changed[0].Err, order.ErrLocked) {
			return order.Changed{}, changed[0].Err
		}
		return changed[0], nil
	})
	if err != nil {
		return nil, &order.Error{
			Code: order.CodeUnavailable, Cause: err, Message: fmt.Sprintf("The payment gateway's answer for order %d (%s) could not be recorded. "+
				"Abandon or retry the failed job again once the operator's lease has expired.", s.OrderID, s.Outcome),
		}
	}
	return settled.Order, settled.Err
}

// abandoned returns the result of a void to the operator.
func (f *FailedJobService) abandoned(ctx context.Context, s order.Settlement, o *order.Order) (*order.Order, error) {
	switch {
	case s.Outcome == order.Succeeded && o.Status == order.Failed:
		f.caller.log.InfoContext(ctx, "An operator abandoned a failed job.",
			"event", "order.failed", "order_id", o.ID, "user_id", o.UserID, "trace_id", s.Trace.ID, "operator", s.Actor)
		return o, nil
	case s.Outcome == order.Succeeded:
		return nil, order.Errorf(order.CodeJobInProgress,
			"Order %d is %s: the operator's lease expired before the void was recorded.", o.ID, o.Status)
	case s.Outcome == order.HandedBack:
		return nil, order.Errorf(order.CodeUnavailable,
			"The payment gateway is unavailable and was not called. Order %d stays as it was. Try again later.", o.ID)
	case s.Outcome == order.Declined:
		return nil, order.Errorf(order.CodeUnavailable, "The payment gateway refused to void the charge of order %d (%s). "+
			"The order stays as it was. Ask the payment provider, or retry the job.", o.ID, s.Reason)
	default:
		return nil, order.Errorf(order.CodeUnavailable,
			"The payment gateway did not confirm the void of order %d (%s). The order stays as it was. Try again later.", o.ID, s.Reason)
	}
}

// noPublisher publishes nothing.
type noPublisher struct{}

func (noPublisher) Publish(order.EventBatch) {}
