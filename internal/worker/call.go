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
	maxReason   = 255 // most characters of a gateway's text that are stored
	minRedacted = 8   // a shorter payment method is a word such as "card", not a token
)

// caller calls the gateway for claims; Worker and FailedJobService have one each.
type caller struct {
	gateway      payment.Gateway
	installation string
	timeout      time.Duration
	log          *slog.Logger
}

// settlement returns the settlement of a claim, still without its outcome.
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

// call makes the call that a claim requires and writes its outcome into s. It takes no longer than the time-out if the gateway
// respects its context.
func (c *caller) call(ctx context.Context, o *order.Order, s *order.Settlement) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	limited, span := tracing.Start(limited, string(s.Kind), tracing.Client)
	defer func() { endSpan(span, o, s) }()
	request := payment.Request{
		Key: c.key(o.ID), OrderID: o.ID, Attempt: o.Claims, Amount: o.Total, Currency: o.Currency,
		Method: o.PaymentMethod, Trace: order.Trace{ID: s.Trace.ID, Parent: span.Parent(s.Trace.Parent)},
	}
	result, err := c.send(limited, s.Kind, request)
	switch {
	case errors.Is(err, payment.ErrOpen):
		s.Outcome = order.HandedBack
	case err != nil:
		s.Outcome, s.Reason = order.NoAnswer, c.reason(ctx, limited, err, request.Method)
	case result.Outcome == order.Succeeded || result.Outcome == order.Declined:
		s.Outcome, s.Reference, s.Reason = result.Outcome, cleanText(result.Reference, ""), cleanText(result.Reason, request.Method)
	default:
		s.Outcome = order.NoAnswer
		s.Reason = cleanText(fmt.Sprintf("the gateway returned the unknown outcome %q", result.Outcome), "")
	}
}

// endSpan ends the span of a call.
func endSpan(span tracing.Span, o *order.Order, s *order.Settlement) {
	if span.Recording() {
		span.Set(tracing.Int("order.id", o.ID), tracing.Int("payment.attempt", int64(s.Claim)), tracing.Text("payment.outcome", string(s.Outcome)))
	}
	if s.Outcome == order.NoAnswer {
		span.Fail("no answer") // not the reason, which quotes the provider
	}
	span.End(nil)
}

// key returns the idempotency key of an order's charge, the same for all attempts.
func (c *caller) key(orderID int64) string {
	key := make([]byte, 0, len(c.installation)+20)
	return string(strconv.AppendInt(append(append(key, c.installation...), '-'), orderID, 10))
}

// send calls the gateway. A panic is an error of this call only.
func (c *caller) send(ctx context.Context, kind order.PaymentKind, request payment.Request) (result payment.Result, err error) {
	defer func() {
		if value := recover(); value != nil {
			c.log.ErrorContext(ctx, "The payment gateway panicked. The call counts as unanswered.",
				"event", "gateway.panicked", "order_id", request.OrderID, "trace_id", request.Trace.ID,
				"error", cleanText(fmt.Sprint(value), request.Method), "stack", string(debug.Stack()))
			result, err = payment.Result{}, errors.New("internal error of the gateway")
		}
	}()
	if kind == order.KindVoid {
		return c.gateway.Void(ctx, request)
	}
	return c.gateway.Charge(ctx, request)
}

// reason returns the text of an error for the payment's record. outer is the parent context of limited.
func (c *caller) reason(outer, limited context.Context, err error, method string) string {
	switch {
	case outer.Err() != nil:
		return "the worker stopped before the gateway answered"
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", c.timeout)
	default:
		return cleanText(err.Error(), method)
	}
}

// cleanText makes a gateway's text fit for storage: one line of valid text without the payment method, truncated to maxReason.
func cleanText(text, method string) string {
	if isClean(text, method) {
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

// isClean reports whether cleanText has nothing to do: the text is short printable ASCII without the payment method.
func isClean(text, method string) bool {
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
