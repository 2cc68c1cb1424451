// Package pusher has the parts of the Pusher Channels protocol that the WebSocket server, the API and the console share:
// credentials with their signatures, names of channels, socket ids and close codes (pusher.com/docs: "Pusher Channels Protocol",
// "HTTP API").
package pusher

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the protocol's check of a body that a SHA-256 signature covers
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// App is the application of a server: its id, its public key and the secret that signs channels and requests. The zero value
// signs nothing.
type App struct {
	ID     string // in the paths of the HTTP API
	Key    string // public; in the address of a WebSocket
	Secret string
}

// formerID was the default id of earlier versions. Pusher's libraries need a number, so the default changed; servers still accept
// this one.
const formerID = "orderflow"

// ClockSkew is how far the time of a signed request may differ from the server's clock.
const ClockSkew = 600 * time.Second

// HasID reports whether id names the application.
func (a App) HasID(id string) bool { return id == a.ID || id == formerID }

// CanSign reports whether the application has a secret.
func (a App) CanSign() bool { return a.Secret != "" }

// sign returns the protocol's signature: HMAC-SHA256 in lower-case hexadecimal digits.
func (a App) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// SignChannel returns the authorization of one connection for one private channel: the key, a colon, and the signature of
// "socket_id:channel".
func (a App) SignChannel(socketID, channel string) string {
	return a.Key + ":" + a.sign(socketID+":"+channel)
}

// AllowsChannel reports whether auth authorises the connection for the channel. data is the channel_data that the signature
// covers, "" for none.
func (a App) AllowsChannel(auth, socketID, channel, data string) bool {
	if data != "" {
		channel += ":" + data
	}
	return equal(auth, a.SignChannel(socketID, channel))
}

// SignRequest returns the query that signs a request to the HTTP API with this body.
func (a App) SignRequest(method, path string, body []byte, now time.Time) url.Values {
	query := url.Values{
		"auth_key": {a.Key}, "auth_timestamp": {strconv.FormatInt(now.Unix(), 10)}, "auth_version": {"1.0"}, "body_md5": {bodyMD5(body)},
	}
	query.Set("auth_signature", a.sign(signedText(method, path, query)))
	return query
}

// CheckRequest checks the signature of a request to the HTTP API. The query holds the key, the time and, when there is a body, its
// MD5. CheckRequest needs no body, so that a client without the secret cannot make the server read one; CheckBody checks the body.
func (a App) CheckRequest(method, path string, query url.Values, now time.Time) error {
	for _, values := range query {
		if len(values) != 1 {
			return errors.New("duplicate query parameter")
		}
	}
	at, err := strconv.ParseInt(query.Get("auth_timestamp"), 10, 64)
	switch {
	case !equal(query.Get("auth_key"), a.Key):
		return errors.New("unknown auth_key")
	case query.Get("auth_version") != "1.0":
		return errors.New("auth_version must be 1.0")
	case !equal(query.Get("auth_signature"), a.sign(signedText(method, path, query))):
		return errors.New("wrong auth_signature")
	case err != nil || now.Sub(time.Unix(at, 0)).Abs() > ClockSkew:
		return errors.New("auth_timestamp differs from the server's clock by more than 600 s")
	}
	return nil
}

// CheckBody checks that a body is the signed one, by its MD5 in the query. An empty body needs no MD5, unless the query has one:
// a signed body cannot be removed.
func CheckBody(query url.Values, body []byte) error {
	if len(body) == 0 && !query.Has("body_md5") {
		return nil
	}
	if !equal(query.Get("body_md5"), bodyMD5(body)) {
		return errors.New("body_md5 does not match the body")
	}
	return nil
}

// signedText is the text that the signature of a request covers: method, path and the query's parameters in the order of their
// names, not escaped.
func signedText(method, path string, query url.Values) string {
	var pairs []string
	for name := range query {
		if name != "auth_signature" {
			pairs = append(pairs, name)
		}
	}
	slices.Sort(pairs)
	for i, name := range pairs {
		pairs[i] = strings.ToLower(name) + "=" + query.Get(name)
	}
	return method + "\n" + path + "\n" + strings.Join(pairs, "&")
}

func bodyMD5(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // likewise
	return hex.EncodeToString(sum[:])
}

// equal compares in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
