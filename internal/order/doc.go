// Package order is the domain of Orderflow: what an order is, how money is counted, which status may follow which, and
// the four decisions that change an order (Place, Cancel, Claim, Settle) with the two that an operator may take (Retry,
// and Claim with Abandon set) and the three of an administrator (AddProducts, ChangeProducts, ApplyRestocks).
//
// Every decision is a pure function over a slice. It is handed the rows as they are, read under lock, and the time; it
// returns an answer for each request and, as one value (Effects), all that has to be written. It does no input or
// output, knows no clock and keeps no state, so that whoever carries it out (package store) needs no rule of its own
// and whoever wants to know why a thing happened has one place to look.
//
//	           Cancel                      Settle: charge succeeded
//	PENDING ───────────▶ CANCELLED    ┌──────────────────────────────▶ PAID
//	   │                              │
//	   └───────────▶ PROCESSING ──────┤
//	       Claim                      └──────────────────────────────▶ FAILED
//	                                       Settle: declined, abandoned
//
// Money and goods stay together because of what Settle does with a charge and a void whose order at the gateway nobody
// can know. A void counts only from the holder of the order's lease, a charge from anybody. A charge that is reported
// while a void is under way, or after one whose fate is unknown, makes the order FAILED, clears the lease (so that the
// void under way counts for nothing) and owes a void, which is begun after the charge; and as long as charges keep coming
// in late, each owes another one. So a FAILED order ends with a void that came after every charge reported, and an order
// becomes PAID only where no void was begun since it was last retried.
//
// The package imports the standard library alone.
package order
