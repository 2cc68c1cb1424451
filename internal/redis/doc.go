// Package redis implements the ports that processes share through Redis 7: product locks, rate limits, the bus, the product list and
// the channel cache. LOCKS.md explains the locks, and BUS.md the bus.
//
// No order depends on the data in Redis: orders and unpublished events are in the database. Every call has a short time limit. The
// Client tracks whether Redis works. While it does not, every adapter fails at once and the process works without it: the row locks
// of the database replace the product locks, each process counts requests by itself, and the workers' sweeper finds the orders that
// no message announced.
package redis
