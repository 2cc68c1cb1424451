// Package order is the domain of Orderflow: what an order is, how money is counted, which status may follow which, and
// the four decisions that change an order (Place, Cancel, Claim, Settle) with the two that an operator may take (Retry,
// and Claim with Abandon set).
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
// The package imports the standard library alone.
package order
