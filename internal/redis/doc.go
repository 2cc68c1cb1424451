// Package redis holds the adapters over Redis 7: product locks, rate limits, the bus, and the cache of the list of
// products. Processes that share a Redis share all of these.
package redis
