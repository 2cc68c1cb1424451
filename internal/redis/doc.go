// Package redis holds the adapters over Redis 7: product locks, rate limits, the bus, and the cache of the list of
// products. Processes that share a Redis share all of these. LOCKS.md and BUS.md beside this file have the arguments.
//
// Nothing here is ever waited for long, and nothing that is kept here cannot be lost: the database decides, and owes. One
// Client knows whether Redis does its work; while it does not, every adapter fails at once, and who uses it goes on
// without: orders under the database's locks, limits counted by each process, work found by the sweeper.
package redis
