// Package outbox publishes committed events to the bus, at least once.
//
// A transaction that changes orders also inserts one outbox row with a random id. The row contains the events that the bus must
// receive. Two services publish them:
//
//	commit ──EventBatch──▶ Publisher ───────────▶ bus     at once, from memory: the usual path
//	   └───outbox row────▶ Relay (per process) ─▶ bus     seconds later, from the table: rows that are still unpublished
//
// After publishing, both report the row's id to the store. The store marks the row as published in its next write transaction,
// and the relay deletes published rows after a minute. No event is lost, because its row commits together with the change. An
// event may be published twice; consumers recognise a duplicate by the id of the message. DESIGN.md has the details.
package outbox
