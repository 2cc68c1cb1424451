// Package outbox brings committed events to the bus, at least once.
//
// A transaction that changes orders also writes what it owes the bus: one outbox row, under a random id. Two roads lead
// from there to the bus:
//
//	commit ──receipt──▶ Publisher ─────────────▶ bus     at once, from memory: the usual way
//	   └──outbox row──▶ Relay (every process) ─▶ bus     seconds later, from the table: what the first one did not pay
//
// Whoever has published a receipt tells the store, which marks its row paid with its next write; the relay deletes
// paid rows a minute later. Nothing is lost because the debt is as durable as the change itself; something may come
// twice, and every event has an id by which it is known again. DESIGN.md has the argument.
package outbox
