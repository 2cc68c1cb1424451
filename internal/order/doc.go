// Package order is the domain of Orderflow: orders, products, payments, events and error codes, and the decisions that
// change them. It imports only the standard library.
//
// # Decisions
//
// A decision is a pure function over a slice of requests: Place, Cancel, Claim, Settle and Retry for orders; AddProducts,
// ChangeProducts and ApplyRestocks for products. Its arguments are the requests, the locked rows and the time. It returns an
// answer for each request and all writes as one value, Effects. It does no I/O, reads no clock and keeps no state.
// Package store applies the effects without rules of its own.
//
//	           Cancel                      Settle: charge succeeded
//	PENDING ───────────▶ CANCELLED    ┌──────────────────────────────▶ PAID
//	   │                              │
//	   └───────────▶ PROCESSING ──────┤
//	       Claim                      └──────────────────────────────▶ FAILED
//	                                       Settle: declined, abandoned
//
// # Charges and voids
//
// A charge takes the customer's money; a void returns it. Their reports may arrive late and in any order, so the order of the
// two at the gateway can be unknown. These rules keep money and goods together:
//
//   - The report of a void is accepted only under the order's current lease. The report of a charge is always accepted.
//   - A charge reported during a void, or after a void without an answer, makes the order FAILED and due for another void. It
//     also clears the lease, so that the report of the void in progress is ignored.
//   - Each later charge makes the order due for another void.
//
// So the last void of a FAILED order follows every reported charge. A PAID order has no void that began after its last retry.
package order
