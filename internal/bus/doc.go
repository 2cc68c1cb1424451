// Package bus is the port for messages between the roles, with its in-process adapter. A message is opaque: an id, a
// key, a topic, bytes and a trace. The bus looks at the topic alone.
//
//	                         ┌─ group "workers" ─ each message to ONE of its consumers; stays until it is acknowledged
//	Publish ──▶ topic ───────┤
//	                         └─ tails ─────────── each message to EVERY tail; forgotten when it has been handed out
//
// A group is for work that must be done once: it refuses what it has no room for (ErrFull), so that the debt stays with
// the publisher, who keeps it in the database. A tail is for news that only wakes: it never holds a publisher up, and a
// reader that falls behind loses the oldest, is told so (ErrLagged) and reads the table instead.
//
// What the bus promises is little, and the rest of the product needs no more: at least once to a group, at most once to
// a tail, order only where Features says so. Who needs order or completeness reads the history in the database.
//
// # The in-process adapter
//
// One mutex guards all of it. Publishing is moving pointers, for a whole slice at once, and the one mutex makes a
// slice all-or-nothing over every group that it touches. A group is two chains of entries:
//
//	Publish ──▶ waiting ──Fetch──▶ unacked ──Ack──▶ gone
//	              ▲                   │ consumer closed, or not acknowledged in time
//	              └───────────────────┤
//	                                  └─ and delivered too often already ──▶ set aside, counted
//
// Both chains together are the group's bound: what is being worked on takes up room too, else a consumer that never
// acknowledges would let them grow for ever. Deliveries all have the same time to be acknowledged, so unacked is in the
// order of its deadlines, and one timer a group, armed for the first of them, is enough.
//
// # No lost wake-up
//
// Consumers wait on a channel of capacity one, the group's bell. It keeps this invariant: whenever the mutex is free
// and a message waits, the bell is ringing, or a consumer has heard it and is on its way to take. Whatever makes
// waiting longer rings; and whoever takes and leaves something behind rings again, also one that finds itself closed. A
// consumer whose context ends has either not heard the bell, which then goes on ringing, or takes before it looks at
// its context again. A bell that rings for nothing costs one look. Tails have a bell too.
package bus
