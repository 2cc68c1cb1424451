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

// ErrOpen is the error of a Breaker that refused: the gateway was not called, so the claim can be handed back and its
// try with it.
var ErrOpen = errors.New("payment: the circuit breaker is open; the gateway was not called")

// Gateway takes payments. Every adapter keeps this contract, and paymenttest.Run checks it:
//
//   - A repeated Key is the same charge: it is made once, however often it is asked for, by whatever process, at
//     whatever time, also when two ask at once. Each gets the same answer. Attempt and Trace may differ.
//   - A nil error means a definite answer: Succeeded or Declined, for good. Any error means no answer, and the Result is
//     then empty: the charge may have been made, may be made later, or never. Asking again with the same Key finds out.
//   - After Void has succeeded nothing is charged for its Key. Void of a Key that was never charged succeeds, and so does
//     one that is repeated. A Declined void is a definite refusal to undo the charge.
//   - With Features.VoidBlocksCharge a voided Key can never be charged: a charge that comes later is Declined. Without
//     it, such a charge may succeed and has to be voided again.
//   - ctx ends the wait, not the charge: what was sent may still be carried out. The caller bounds every call by ctx;
//     adapters have no time limit of their own for an answer.
//   - All methods may be called from any number of goroutines.
//   - An error says what happened in words for an operator, without a secret and without Request.Method.
type Gateway interface {
	// Charge takes the amount of a request, once for its Key.
	Charge(ctx context.Context, request Request) (Result, error)
	// Void undoes the charge of a request's Key. Method is not needed for it.
	Void(ctx context.Context, request Request) (Result, error)
	// Features says what this gateway promises beyond the contract.
	Features() Features
}

// Request says what to charge, or whose charge to undo.
type Request struct {
	Key      string // of the charge: {installation id}-{order id}, the same for every attempt
	OrderID  int64
	Attempt  int // numbers the claims of the order, from 1
	Amount   order.Money
	Currency string // ISO 4217
	Method   string // the provider's opaque token for a means of payment; "" for none. Never logged
	Trace    order.Trace
}

// Result is a definite answer.
type Result struct {
	Outcome   order.Outcome // Succeeded or Declined
	Reference string        // Succeeded: the gateway's own id of the charge or the void; a void may have none
	Reason    string        // Declined: why
}

// Features are promises that not every gateway can make.
type Features struct {
	VoidBlocksCharge bool // a voided Key can never be charged
}
