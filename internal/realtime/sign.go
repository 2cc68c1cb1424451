package realtime

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the protocol's check of a body that a SHA-256 signature covers
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"orderflow/internal/order"
)

// App is the one application of a server: what clients call it by, and what signs for it.
type App struct {
	ID     string // in the addresses of the HTTP API
	Key    string // public; in the address that clients connect to
	Secret string // signs channels and requests
}

// formerID is the id that applications had by default before Pusher's libraries, which want a number, were considered. Every
// server accepts it.
const formerID = "orderflow"

// hasID reports whether the application is called by this id.
func (a App) hasID(id string) bool { return id == a.ID || id == formerID }

// sign is the protocol's signature: HMAC-SHA256 in lower-case hexadecimal digits.
func (a App) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// SignChannel returns what allows the connection with this socket id to subscribe to a private channel, as the protocol
// has it: the key, a colon, and the signature of "socket_id:channel".
func (a App) SignChannel(socketID, channel string) string {
	return a.Key + ":" + a.sign(socketID+":"+channel)
}

// allows reports whether auth allows the connection to subscribe to the channel. data is the channel_data that was
// signed with it, "" for none.
func (a App) allows(auth, socketID, channel, data string) bool {
	text := socketID + ":" + channel
	if data != "" {
		text += ":" + data
	}
	want := a.Key + ":" + a.sign(text)
	return subtle.ConstantTimeCompare([]byte(auth), []byte(want)) == 1
}

// clockSkew is how far a request's time may be from ours, as the protocol says.
const clockSkew = 600 * time.Second

// checkRequest says whether a request to the HTTP API is signed as the protocol wants it (pusher.com/docs, "HTTP API",
// authentication): the query holds key, time and, when there is a body, its MD5; the signature covers method, path and
// the query's parameters in the order of their names, as they read before they were escaped. It needs no body, so that nobody
// makes the server read one without the secret: checkBody does the rest. The error carries CodeUnauthenticated.
func (a App) checkRequest(method, path string, query url.Values, now time.Time) error {
	names := make([]string, 0, len(query))
	for name, values := range query {
		if len(values) != 1 {
			return notSigned("duplicate query parameter")
		}
		if name != "auth_signature" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var text strings.Builder
	text.WriteString(method + "\n" + path + "\n")
	for i, name := range names {
		if i > 0 {
			text.WriteByte('&')
		}
		text.WriteString(strings.ToLower(name) + "=" + query.Get(name))
	}
	at, err := strconv.ParseInt(query.Get("auth_timestamp"), 10, 64)
	switch {
	case subtle.ConstantTimeCompare([]byte(query.Get("auth_key")), []byte(a.Key)) != 1:
		return notSigned("auth_key is unknown")
	case query.Get("auth_version") != "1.0":
		return notSigned("auth_version must be 1.0")
	case subtle.ConstantTimeCompare([]byte(query.Get("auth_signature")), []byte(a.sign(text.String()))) != 1:
		return notSigned("auth_signature is wrong")
	case err != nil || now.Sub(time.Unix(at, 0)).Abs() > clockSkew:
		return notSigned("auth_timestamp is more than 600 s away from this server's clock")
	}
	return nil
}

// checkBody says whether a body is the one that was signed, by its MD5 in the query. The error carries CodeUnauthenticated.
func checkBody(query url.Values, body []byte) error {
	if len(body) == 0 && !query.Has("body_md5") { // a body that was signed may not be taken away either
		return nil
	}
	sum := md5.Sum(body) //nolint:gosec // likewise
	if subtle.ConstantTimeCompare([]byte(query.Get("body_md5")), []byte(hex.EncodeToString(sum[:]))) != 1 {
		return notSigned("body_md5 is not the body's")
	}
	return nil
}

func notSigned(why string) error {
	return order.Errorf(order.CodeUnauthenticated, "The request is not signed as it must be: %s.", why)
}
