package pusher

import (
	"strconv"
	"strings"
)

// Limits of names in bytes, as Pusher Channels has them.
const (
	MaxChannelName = 164
	MaxEventName   = 200
)

// FeedChannel carries a sample of the changes of all orders, for administrators.
const FeedChannel = "private-orders-feed"

const (
	privatePrefix   = "private-"
	presencePrefix  = "presence-"
	cachePrefix     = "cache-"     // alone, or after the others
	encryptedPrefix = "encrypted-" // after "private-"

	ordersPrefix      = "private-orders."
	cacheOrdersPrefix = "private-cache-orders."
)

// ValidChannel reports whether name is a valid name of a channel.
func ValidChannel(name string) bool {
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=@,.;"
	return name != "" && len(name) <= MaxChannelName && strings.Trim(name, chars) == ""
}

// IsPrivate reports whether subscribers of a channel need a signature.
func IsPrivate(channel string) bool { return strings.HasPrefix(channel, privatePrefix) }

// IsPresence reports whether a channel is a presence channel, whose subscribers see each other. These are not supported.
func IsPresence(channel string) bool { return strings.HasPrefix(channel, presencePrefix) }

// IsCache reports whether a channel is a cache channel: a new subscriber gets its last event.
func IsCache(channel string) bool {
	channel = strings.TrimPrefix(channel, privatePrefix)
	return strings.HasPrefix(strings.TrimPrefix(channel, encryptedPrefix), cachePrefix)
}

// OrdersChannel is the private channel of a user's orders.
func OrdersChannel(user int64) string { return ordersPrefix + strconv.FormatInt(user, 10) }

// CacheOrdersChannel is the private cache channel of a user's orders.
func CacheOrdersChannel(user int64) string { return cacheOrdersPrefix + strconv.FormatInt(user, 10) }

// ChannelUser returns the user of OrdersChannel or CacheOrdersChannel, 0 for any other channel.
func ChannelUser(channel string) int64 {
	digits, found := strings.CutPrefix(channel, ordersPrefix)
	if !found {
		digits, found = strings.CutPrefix(channel, cacheOrdersPrefix)
	}
	user, err := strconv.ParseInt(digits, 10, 64)
	if !found || err != nil || user < 1 || strconv.FormatInt(user, 10) != digits { // one name a user: no sign, no leading zero
		return 0
	}
	return user
}
