package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/tracing"
)

const (
	maxReason   = 255 // characters of a gateway's words that are kept
	minRedacted = 8   // a shorter payment method is a word such as "card" rather than a token
)

// caller calls the gateway for claims; Worker and FailedJobService have one each.
type caller struct {
	gateway      payment.Gateway
	installation string
	timeout      time.Duration
	log          *slog.Logger
}

// settlement begins the report about a claim.
func settlement(claimed order.Claimed, actor string) order.Settlement {
	s := order.Settlement{
		OrderID: claimed.Order.ID, Claim: claimed.Order.Claims, Lease: claimed.Order.Lease,
		Kind: order.KindCharge, Actor: actor, Trace: claimed.Trace,
	}
	if claimed.Task == order.TaskVoid {
		s.Kind = order.KindVoid
	}
	return s
}

// call does what the claim obliges to and writes into s how it ended. It takes no longer than the time-out, given a
// gateway that keeps to its context.
func (c *caller) call(ctx context.Context, o *order.Order, s *order.Settlement) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	limited, span := tracing.Start(limited, string(s.Kind), tracing.Client)
	defer func() { tellOutcome(span, o, s) }()
	request := payment.Request{
		Key: c.key(o.ID), OrderID: o.ID, Attempt: o.Claims, Amount: o.Total, Currency: o.Currency,
		Method: o.PaymentMethod, Trace: order.Trace{ID: s.Trace.ID, Parent: span.Parent(s.Trace.Parent)},
	}
	result, err := c.ask(limited, s.Kind, request)
	switch {
	case errors.Is(err, payment.ErrOpen):
		s.Outcome = order.HandedBack
	case err != nil:
		s.Outcome, s.Reason = order.NoAnswer, c.reason(ctx, limited, err, request.Method)
	case result.Outcome == order.Succeeded || result.Outcome == order.Declined:
		s.Outcome, s.Reference, s.Reason = result.Outcome, bounded(result.Reference, ""), bounded(result.Reason, request.Method)
	default:
		s.Outcome = order.NoAnswer
		s.Reason = bounded(fmt.Sprintf("the gateway answered with the outcome %q, which means nothing", result.Outcome), "")
	}
}

// tellOutcome ends the span of a call.
func tellOutcome(span tracing.Span, o *order.Order, s *order.Settlement) {
	if span.Recording() {
		span.Set(tracing.Int("order.id", o.ID), tracing.Int("payment.attempt", int64(s.Claim)), tracing.Text("payment.outcome", string(s.Outcome)))
	}
	if s.Outcome == order.NoAnswer {
		span.Fail("no answer") // the reason is the provider's words
	}
	span.End(nil)
}

// key identifies an order's one charge, whoever asks for it and however often.
func (c *caller) key(orderID int64) string {
	room := make([]byte, 0, len(c.installation)+20)
	return string(strconv.AppendInt(append(append(room, c.installation...), '-'), orderID, 10))
}

// ask calls the gateway. A panic in it is an error of this one call.
func (c *caller) ask(ctx context.Context, kind order.PaymentKind, request payment.Request) (result payment.Result, err error) {
	defer func() {
		if value := recover(); value != nil {
			c.log.ErrorContext(ctx, "The gateway panicked; the call counts as one without an answer.",
				"event", "payment.panic", "order_id", request.OrderID, "trace_id", request.Trace.ID,
				"error", bounded(fmt.Sprint(value), request.Method), "stack", string(debug.Stack()))
			result, err = payment.Result{}, errors.New("the gateway failed inside")
		}
	}()
	if kind == order.KindVoid {
		return c.gateway.Void(ctx, request)
	}
	return c.gateway.Charge(ctx, request)
}

// reason puts an error into words for the payment's record. outer is the context that limited was made from.
func (c *caller) reason(outer, limited context.Context, err error, method string) string {
	switch {
	case outer.Err() != nil:
		return "the worker stopped before the gateway answered"
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", c.timeout)
	default:
		return bounded(err.Error(), method)
	}
}

// bounded makes a gateway's words fit to be kept: one line of valid text without the payment method, cut to maxReason.
func bounded(text, method string) string {
	if clean(text, method) {
		return text
	}
	if len(method) >= minRedacted {
		text = strings.ReplaceAll(text, method, "[payment method]")
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if utf8.RuneCountInString(text) <= maxReason {
		return text
	}
	return string([]rune(text)[:maxReason-1]) + "…"
}

// clean reports whether bounded has nothing to do: short printable ASCII without the method.
func clean(text, method string) bool {
	if len(text) > maxReason || (len(method) >= minRedacted && strings.Contains(text, method)) {
		return false
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
