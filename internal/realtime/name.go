package realtime

import "strings"

// Bounds of names, which are those of Pusher Channels.
const (
	maxChannelName = 164
	maxEventName   = 200
)

// Begin the names of channels whose subscribers must show a signature, and of channels whose last event is kept.
const (
	privatePrefix  = "private-"
	presencePrefix = "presence-"
	cachePart      = "cache-"
	encryptedPart  = "encrypted-"

	ordersPrefix      = "private-orders."
	cacheOrdersPrefix = "private-cache-orders."
)

// validChannel reports whether a channel may have this name.
func validChannel(name string) bool {
	if name == "" || len(name) > maxChannelName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("_-=@,.;", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// isPrivate reports whether subscribers of a channel must show a signature.
func isPrivate(channel string) bool { return strings.HasPrefix(channel, privatePrefix) }

// isPresence reports whether a channel would tell its subscribers of each other, which is not supported.
func isPresence(channel string) bool { return strings.HasPrefix(channel, presencePrefix) }

// isCache reports whether the last event of a channel is kept for who subscribes later.
func isCache(channel string) bool {
	channel = strings.TrimPrefix(channel, privatePrefix)
	return strings.HasPrefix(strings.TrimPrefix(channel, encryptedPart), cachePart)
}
