// Package bus is the port for messages between the roles, and its in-process adapter. A message is an id, a key, a topic,
// a body and a trace context. The bus reads only the topic.
//
//	                      ┌─ group "workers" ─ each message to ONE consumer of the group, until it is acknowledged
//	Publish ──▶ topic ────┤
//	                      └─ subscriptions ─── each message to EVERY subscription, at most once
//
// A group is for work that must be done once. A full group refuses messages (ErrFull), and the events stay unpublished in
// the database. A subscription is for wake-ups and broadcasts. It never delays a publisher: a subscription that falls behind
// loses its oldest messages, gets ErrLagged once, and its reader reads the database instead.
//
// A group delivers at least once, a subscription at most once. Order is promised only where Features.Ordered holds. A
// consumer that needs order or completeness reads the history in the database.
//
// # The in-process adapter
//
// One mutex guards the whole bus, so Publish is all-or-nothing over all groups of a slice. A group holds two lists:
//
//	Publish ──▶ waiting ──Fetch──▶ unacked ──Ack──▶ removed
//	              ▲                   │ consumer closed, or not acknowledged in time
//	              └───────────────────┤
//	                                  └─ delivery limit reached ──▶ dead-lettered
//
// Options.Buffer bounds both lists together: otherwise a consumer that never acknowledges would let unacked grow without
// limit. Every delivery has the same time to be acknowledged. So unacked is sorted by deadline, and one timer per group, set
// for the first deadline, is enough.
//
// # No lost wake-up
//
// Consumers wait on a signal, a channel of capacity 1. Whenever the mutex is free and a message waits, either the signal is
// set, or a consumer has received it and is about to take messages. Two rules keep this invariant: adding to waiting sets the
// signal, and a consumer that leaves messages in waiting sets it again, even if that consumer was closed. A consumer whose
// context ends has either not received the signal, which stays set, or takes messages before it checks its context again. A
// superfluous signal costs one check of the list. Subscriptions have a signal too.
package bus
