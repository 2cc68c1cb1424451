package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"orderflow/internal/order"
	"orderflow/internal/payment"
)

// FailedJobStore is what a FailedJobService needs of the database.
type FailedJobStore interface {
	FailedJobs(ctx context.Context, openOnly bool, limit int) ([]order.FailedJob, error)
	FailedJob(ctx context.Context, id int64) (order.FailedJob, error)
	RetryOrders(ctx context.Context, ids []int64) ([]order.Changed, error)
	ClaimOrders(ctx context.Context, requests []order.ClaimRequest) ([]order.Claimed, order.EventBatch, error)
	SettleOrders(ctx context.Context, settlements []order.Settlement) ([]order.Changed, order.EventBatch, error)
}

// MaxListed is how many dead letters List returns at most.
const MaxListed = 1000

// deskTries is how often an abandoned order's settlement is tried while an operator waits.
const deskTries = 5

// FailedJobServiceOptions are what a FailedJobService works with.
type FailedJobServiceOptions struct {
	Jobs          FailedJobStore  // required
	Gateway       payment.Gateway // required
	Publisher     Publisher       // nil: the relay of a running server publishes what is owed
	Installation  string          // required; as the workers'
	ChargeTimeout time.Duration   // how long a void may take; 0 for DefaultChargeTimeout
	Logger        *slog.Logger    // nil for no log
}

// FailedJobService is where an operator deals with dead letters: payments that used up their tries. It needs no running Worker. Its
// methods may be called from any goroutine.
type FailedJobService struct {
	jobs      FailedJobStore
	publisher Publisher
	caller    caller
}

// NewFailedJobService returns a FailedJobService.
func NewFailedJobService(o FailedJobServiceOptions) *FailedJobService {
	if o.Publisher == nil {
		o.Publisher = nobody{}
	}
	if o.ChargeTimeout == 0 {
		o.ChargeTimeout = DefaultChargeTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &FailedJobService{o.Jobs, o.Publisher, caller{o.Gateway, o.Installation, o.ChargeTimeout, o.Logger}}
}

// List returns the open dead letters, at most MaxListed of them.
func (d *FailedJobService) List(ctx context.Context) ([]order.FailedJob, error) {
	return d.jobs.FailedJobs(ctx, true, MaxListed)
}

// Retry gives a dead letter's order all its tries again, due at once, and returns the order. The errors carry
// CodeNotFound, or CodeJobInProgress when the job is closed or its order is being worked on.
func (d *FailedJobService) Retry(ctx context.Context, jobID int64) (*order.Order, error) {
	job, err := d.open(ctx, jobID)
	if err != nil {
		return nil, err
	}
	changed, err := d.jobs.RetryOrders(ctx, []int64{job.OrderID})
	if err != nil {
		return nil, err
	}
	if err := changed[0].Err; err != nil {
		return nil, err
	}
	d.caller.log.InfoContext(ctx, "An operator has a payment tried again.", "event", "payment.retried", "order_id", job.OrderID, "job_id", jobID)
	return changed[0].Order, nil
}

// Abandon gives a dead letter's order up: it voids the charge at the gateway, and once that has confirmed it the order
// is FAILED and its pieces are back in stock. operator is who wants it, for the history. What was begun is brought to
// its end even when ctx ends meanwhile.
//
// The errors carry CodeNotFound; CodeJobInProgress when the job is closed or its order is being worked on; or
// CodeUnavailable when the gateway did not confirm the void or the database could not record it: the order then stays
// as it was, and can be abandoned or retried again, in the latter case once the operator's lease has run out.
func (d *FailedJobService) Abandon(ctx context.Context, jobID int64, operator string) (*order.Order, error) {
	job, err := d.open(ctx, jobID)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	trace := order.Trace{ID: uuid.NewString()} // it goes back to the operator, not to who placed the order
	claimed, receipt, err := d.jobs.ClaimOrders(ctx, []order.ClaimRequest{{OrderID: job.OrderID, Abandon: true, Actor: operator, Trace: trace}})
	if err != nil {
		return nil, err
	}
	d.publisher.Publish(receipt)
	if err := claimed[0].Err; err != nil {
		return nil, err
	}
	s := settlement(claimed[0], operator)
	d.caller.call(ctx, claimed[0].Order, &s)
	if s.Outcome != order.Succeeded {
		d.caller.log.WarnContext(ctx, "The gateway did not confirm a void; the order waits for an operator again.", "event", "payment.void_failed",
			"order_id", s.OrderID, "job_id", jobID, "trace_id", s.Trace.ID, "operator", operator, "outcome", string(s.Outcome), "error", s.Reason)
	}
	o, err := d.settle(ctx, s)
	if err != nil {
		return nil, err
	}
	return d.verdict(ctx, s, o)
}

// open returns a job that waits for an operator.
func (d *FailedJobService) open(ctx context.Context, jobID int64) (order.FailedJob, error) {
	job, err := d.jobs.FailedJob(ctx, jobID)
	if err != nil {
		return order.FailedJob{}, err
	}
	if !job.ResolvedAt.IsZero() {
		return order.FailedJob{}, order.Errorf(order.CodeJobInProgress, "Job %d is closed already (%s).", jobID, job.Resolution)
	}
	return job, nil
}

// settle records how the void ended. An operator waits for it, so it is tried for a few seconds only.
func (d *FailedJobService) settle(ctx context.Context, s order.Settlement) (*order.Order, error) {
	pause := firstPause
	for try := 1; ; try++ {
		changed, receipt, err := d.jobs.SettleOrders(ctx, []order.Settlement{s})
		if err == nil {
			d.publisher.Publish(receipt)
			if err = changed[0].Err; !errors.Is(err, order.ErrLocked) {
				return changed[0].Order, err
			}
		}
		if try == deskTries || !transient(err) {
			return nil, &order.Error{
				Code: order.CodeUnavailable, Cause: err, Message: fmt.Sprintf("The gateway's answer about order %d (%s) could not be recorded. "+
					"The order waits for an operator again once its lease has run out.", s.OrderID, s.Outcome),
			}
		}
		pauseFor(ctx, pause)
		pause *= 2
	}
}

// verdict tells the operator what a void came to.
func (d *FailedJobService) verdict(ctx context.Context, s order.Settlement, o *order.Order) (*order.Order, error) {
	switch {
	case s.Outcome == order.Succeeded && o.Status == order.Failed:
		d.caller.log.InfoContext(ctx, "An operator abandoned an order.",
			"event", "order.failed", "order_id", o.ID, "user_id", o.UserID, "trace_id", s.Trace.ID, "operator", s.Actor)
		return o, nil
	case s.Outcome == order.Succeeded:
		return nil, order.Errorf(order.CodeJobInProgress,
			"Order %d is %s: the operator's lease had run out before the void was recorded.", o.ID, o.Status)
	case s.Outcome == order.HandedBack:
		return nil, order.Errorf(order.CodeUnavailable,
			"The gateway cannot be reached at the moment and was not called; order %d stays as it was. Try again later.", o.ID)
	case s.Outcome == order.Declined:
		return nil, order.Errorf(order.CodeUnavailable, "The gateway refused to void the charge of order %d (%s); the order stays as it was. "+
			"Ask the provider, or retry the charge.", o.ID, s.Reason)
	default:
		return nil, order.Errorf(order.CodeUnavailable,
			"The gateway did not confirm the void of order %d (%s); the order stays as it was. Try again later.", o.ID, s.Reason)
	}
}

// nobody publishes nothing.
type nobody struct{}

func (nobody) Publish(order.EventBatch) {}
