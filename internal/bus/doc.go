// Package bus is the interface for messages between the roles of the server (API, worker, realtime), and its in-process
// implementation. Package redis has the implementation for several processes. A message has an id, a key, a topic, a body and a
// trace context. The bus reads only the topic.
//
//	                      ┌─ group "workers" ─ each message to ONE consumer of the group, until it is acknowledged
//	Publish ──▶ topic ────┤
//	                      └─ subscriptions ─── each message to EVERY subscription, at most once
//
// A group is for work that one consumer must do. A full group refuses messages (ErrFull); their events then stay in the outbox
// table, to be published later. A subscription is for wake-ups and broadcasts. It never delays a publisher: a subscription that falls behind
// loses its oldest messages, gets ErrLagged once, and its reader reads the database instead.
//
// A group delivers at least once, a subscription at most once. The order of messages is guaranteed only if Features.Ordered is
// true. A consumer that needs every message, or their order, reads the history in the database.
//
// # The in-process adapter
//
// One mutex guards the whole bus, so Publish delivers a slice of messages to all its groups or to none. A group holds two lists:
//
//	Publish ──▶ waiting ──Fetch──▶ unacked ──Ack──▶ removed
//	              ▲                   │ consumer closed, or not acknowledged in time
//	              └───────────────────┤
//	                                  └─ delivery limit reached ──▶ dead-lettered
//
// Options.Buffer bounds both lists together: otherwise unacked would grow without limit if a consumer never acknowledged. Every
// delivery has the same time to be acknowledged. So unacked is sorted by deadline, and one timer per group, set for the first
// deadline, is enough.
//
// # No lost wake-up
//
// Consumers wait for a signal: a channel of capacity 1. The invariant: whenever the mutex is free and a message waits, either the
// signal is set, or a consumer has received it and is about to take messages. Three rules keep the invariant:
//
//   - Code that adds to waiting sets the signal.
//   - A consumer that leaves messages in waiting sets the signal again, even if that consumer was closed.
//   - A consumer that has received the signal takes messages before it checks its context again.
//
// A superfluous signal costs one check of the list. Subscriptions have a signal too.
package bus
