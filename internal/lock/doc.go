// Package lock is the port for product locks, layer 1 of the two that guard stock, with its in-process adapter, the
// tokens that name a holder, and the schedule by which a busy product is tried again.
//
// # Why these locks are only layer 1
//
// A lock with a time to live is a promise that nobody can keep: its holder may be stopped for longer than the TTL, the
// server that keeps it may forget, a message may arrive late. So nothing is ever decided by a product lock. The
// database decides: the product rows are locked and read in the transaction that takes the stock, the count of changed
// rows is checked, and CHECK (stock >= 0) stands behind that. Layer 1 only keeps contention away from the database: of
// all who want a product, one at a time goes in, and the others wait where waiting costs nothing. Layer 2 alone is
// correct, and slower.
//
// # What may go wrong without harm
//
//   - A holder dies. Its locks expire after TTL; until then an order that meets the same token of ours from its first
//     try to its last goes in under layer 2 alone.
//   - A holder is slow and its lock expires under it. Two are inside; the row lock puts them in line. Its late Unlock
//     finds another token and deletes nothing.
//   - TryLock fails, or its answer is lost. The caller goes on without locks; what may have been taken expires.
//   - A release is not heard. Released is closed TTL after the failed try at the latest, and the schedule tries again
//     on its own.
//   - A release is heard and another was quicker. A wake-up is an extra try and promises nothing.
//
// # What keeps it from locking up
//
// TryLock waits for nobody, so no one waits for a product while holding another, and there is no cycle to fall into,
// in whatever order products are named. They are tried in ascending order all the same: two who want the same ones
// then meet at the first, and one of them gets all.
//
// # No lost wake-up
//
// A waiter must not look (busy), miss the release, and only then begin to listen. In the in-process adapter the look
// and the listening are one step under one mutex: the channel handed out belongs to the very hold that made the
// product busy, and whatever ends that hold (Unlock, expiry, being taken after expiry) closes it under the same mutex.
// A hold that somebody listens to has a timer; others expire silently, when somebody next tries them. An adapter over a
// server must begin to listen before it tries.
package lock
