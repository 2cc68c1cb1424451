// Package redis has the adapters over Redis 7: product locks, rate limits, the bus, the product list and the channel cache.
// All processes that use one Redis share them. LOCKS.md and BUS.md explain the two algorithms.
//
// Redis holds no data that the product cannot lose: orders and unpublished events are in the database. Every call has a short
// time limit. The Client knows whether Redis works. While it does not, every adapter fails at once and its caller works
// without Redis: the database locks the rows, each process counts requests by itself, and the sweeper finds the orders.
package redis
