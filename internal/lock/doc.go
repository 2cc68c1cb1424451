// Package lock has the interface of product locks, their in-process adapter, their tokens, and the schedule of tries for a busy
// product.
//
// # Role
//
// Product locks are layer 1 of the two that protect stock. They only keep contention away from the database: one process at
// a time writes orders of a product, and the others wait outside the database, where waiting is cheap. The database
// (layer 2) decides: a transaction locks and reads the product rows, checks the count of changed rows, and has CHECK (stock >= 0).
// Layer 2 alone is correct, but slower. No decision depends on layer 1, because a lock with a time to live is not safe: its
// owner may be suspended for longer than the TTL, and its server may lose it.
//
// # Failures without harm
//
//   - The owner crashes: its lock expires after TTL. A lock that keeps the same token of Orderflow for two seconds is stale:
//     package intake ignores it, and continues under layer 2 alone.
//   - The owner is slow, and its lock expires: two owners are active, and the row lock makes the second one wait. The late Unlock
//     finds another token and deletes nothing.
//   - TryLock fails, or its answer is lost: the caller continues without locks. Locks that it may own expire.
//   - The announcement of a release is lost: Released closes at the latest TTL after the try, and the schedule tries again before.
//   - Another process is faster after a release: a wake-up adds a try, and does not promise the lock.
//
// # No deadlock
//
// TryLock never waits for an owner, so no process waits for one product while it has another, in whatever order products are
// named. It tries them in ascending order all the same: two callers with the same products conflict at the first one, and one of
// them gets all.
//
// # No lost wake-up
//
// A release between a failed try and the start of waiting must not be missed. The in-process adapter does both in one step, under
// one mutex: the channel Released belongs to the entry that made the product busy. Whatever ends this entry (Unlock, expiry, the
// next owner after expiry) closes the channel under the same mutex. An entry with a waiter has a timer; the others expire silently,
// when the product is next tried. An adapter over a server must subscribe before it tries.
package lock
