// Package worker takes the payment for orders: it claims an order, charges it through the gateway and settles what came
// of it. Claims and settlements are committed in batches; charges run side by side, outside every transaction.
//
//	bus ──▶ consumer ─┐                       a goroutine each, at most Concurrency
//	                  ├─▶ claim (batch) ──▶ ┌ charge ──▶ settle (batch) ┐ ──▶ receipt ──▶ Publisher
//	due ──▶ sweeper ──┘        │            └───────────────────────────┘
//	                           └─▶ acknowledge, once committed
//
// The bus is the fast way to an order, the sweeper the sure one: it looks every second for orders that are due, be it
// because their message got lost, their worker died, or it is time for their next attempt. Neither way has to be exact,
// because the claim decides: of any number of workers that want an order, one gets it.
//
// FailedJobService is the operator's side: it lists the payments that were given up, has them tried again, or abandons them.
//
// DESIGN.md tells why an order is never charged twice, whatever crashes when.
package worker
