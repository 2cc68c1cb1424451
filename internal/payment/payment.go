// Package payment is the port to payment providers, and its adapters: a simulated gateway, a gateway over HTTP that speaks the
// JSON protocol of docs/payment-provider.md, and a circuit breaker in front of either.
//
//	worker ──▶ Breaker ──▶ Simulated
//	             │    └──▶ HTTP ──▶ any payment provider
//	             ▼
//	          ErrOpen: the gateway was not called
//
// One rule of the port makes payments safe: a repeated Key is the same charge. When a worker crashes, times out or loses its
// lease, another worker repeats the charge with the same Key. Both requests are one charge with one answer.
package payment

import (
	"context"
	"errors"

	"orderflow/internal/order"
)

// ErrOpen means that a Breaker refused the call. The gateway was not called, so the claim can be handed back with its attempt.
var ErrOpen = errors.New("payment: the circuit breaker is open; the gateway was not called")

// Gateway takes payments. Every adapter keeps this contract, and paymenttest.Run checks it:
//
//   - A repeated Key is the same charge. It is made once, however many processes request it, at whatever time, also
//     concurrently. Every request gets the same answer. Attempt and Trace may differ.
//   - A nil error means a definite answer: Succeeded or Declined, which never changes. An error means no answer, with an empty
//     Result: the charge may have been made, may still be made, or may never be made. A repetition with the same Key returns the
//     answer.
//   - After a successful Void the Key has no charge. Void of an uncharged Key succeeds, and so does a repeated Void. A Declined
//     void is a definite refusal to undo the charge.
//   - With Features.VoidBlocksCharge a voided Key can never be charged: a later charge is Declined. Without it, such a charge
//     may succeed and must be voided again.
//   - ctx ends the wait, not the charge: the provider may still execute a request that was sent. The caller bounds every call by
//     ctx; adapters have no time limit of their own for an answer.
//   - All methods are safe for concurrent use.
//   - An error explains to an operator what happened, without a secret and without Request.Method.
type Gateway interface {
	// Charge charges the amount of a request, once per Key.
	Charge(ctx context.Context, request Request) (Result, error)
	// Void undoes the charge of a request's Key. It needs no Method.
	Void(ctx context.Context, request Request) (Result, error)
	// Features returns the guarantees of this gateway beyond the contract.
	Features() Features
}

// Request is a request to charge, or to void a charge.
type Request struct {
	Key      string // of the charge: {installation id}-{order id}, the same for every attempt
	OrderID  int64
	Attempt  int // numbers the claims of the order, from 1
	Amount   order.Money
	Currency string // ISO 4217
	Method   string // the provider's opaque token of the payment method; "" for none. Never logged
	Trace    order.Trace
}

// Result is a definite answer.
type Result struct {
	Outcome   order.Outcome // Succeeded or Declined
	Reference string        // Succeeded: the gateway reference of the charge or void; a void may have none
	Reason    string        // Declined: why
}

// Features are guarantees that not every gateway gives.
type Features struct {
	VoidBlocksCharge bool // a voided Key can never be charged
}
