// Package worker takes the payment for orders: it claims an order, charges it through the gateway and settles the outcome.
// Claims and settlements are committed in batches. Charges run concurrently, outside of every transaction.
//
//	bus ──▶ consumer ─┐                       one goroutine per order, at most Concurrency
//	                  ├─▶ claim (batch) ──▶ ┌ charge ──▶ settle (batch) ┐ ──▶ EventBatch ──▶ Publisher
//	due ──▶ sweeper ──┘        │            └───────────────────────────┘
//	                           └─▶ acknowledge, after the commit
//
// The bus is the fast way to find an order; the sweeper is the reliable one. Every second the sweeper queries the orders that are due.
// An order is due when its message was lost, when the lease of a crashed worker has expired, or when it is time for the next payment
// attempt. Bus and sweeper may find the same order: the claim gives it to one worker only.
//
// FailedJobService lists, retries and abandons failed jobs: orders whose payment used up its attempts. It needs no running
// Worker.
//
// DESIGN.md explains why an order is charged only once.
package worker
