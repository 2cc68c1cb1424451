package api

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"orderflow/internal/order"
)

// channelUser returns the user whose orders a private channel tells of, 0 when it is no such channel.
func channelUser(channel string) int64 {
	digits, found := strings.CutPrefix(channel, "private-orders.")
	if !found {
		digits, found = strings.CutPrefix(channel, "private-cache-orders.")
	}
	id, ok := parseID(digits)
	if !found || !ok {
		return 0
	}
	return id
}

// feedChannel tells of every change of every order, for operators.
const feedChannel = "private-orders-feed"

// maySubscribe reports whether a caller may listen to a private channel: a user's to who acts for this user, the feed to an
// operator.
func (a *API) maySubscribe(x *exchange, channel string) bool {
	if channel == feedChannel {
		return x.caller.Admin || a.options.Local && FromThisMachine(x.r) == nil
	}
	user := channelUser(channel)
	return user != 0 && x.caller.MayActFor(user)
}

// FromThisMachine returns CodeForbidden unless a request to a server on a loopback address comes from who sits at the machine,
// rather than from a stranger: whose page has a name of its own lead here (the Host header then says that name), or for whom a
// proxy asks. Most proxies say so in a header; nginx as it comes does not, but speaks HTTP/1.0, as no browser does. A proxy that
// does neither is not seen.
func FromThisMachine(r *http.Request) error {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || !loopback(hostname(r.Host)) {
		return order.Errorf(order.CodeForbidden, "Without log-ins this is there for this machine alone: open it under 127.0.0.1, "+
			"[::1] or localhost, or start the server with --auth required.")
	}
	proxied := !r.ProtoAtLeast(1, 1)
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		proxied = proxied || r.Header[name] != nil
	}
	if proxied {
		return order.Errorf(order.CodeForbidden, "Without log-ins this is not served through a proxy: start the server with --auth required.")
	}
	return nil
}

// authorizeChannel signs a private channel for a WebSocket connection, as clients of Pusher Channels ask for it: a form or
// JSON with socket_id and channel_name. A user may listen to nobody else's orders.
func (a *API) authorizeChannel(x *exchange) error {
	if err := a.origins.check(x); err != nil {
		return err
	}
	socket, channel, err := x.channelRequest()
	if err != nil {
		return err
	}
	if !a.maySubscribe(x, channel) {
		return order.Errorf(order.CodeForbidden, "Nobody who asks like this may subscribe to this channel.")
	}
	x.out = append(x.out[:0], `{"auth":`...)
	x.out = appendString(x.out, a.options.SignChannel(socket, channel))
	x.out = append(x.out, '}', '\n')
	x.json(http.StatusOK, x.out)
	return nil
}

// channelRequest reads what is to be signed.
func (x *exchange) channelRequest() (socket, channel string, err error) {
	var body struct {
		SocketID    string `json:"socket_id"`
		ChannelName string `json:"channel_name"`
	}
	var f faults
	kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	switch {
	case err != nil || kind != "application/json" && kind != "application/x-www-form-urlencoded":
		return "", "", order.Errorf(order.CodeUnsupportedMedia, "The body must be a form or JSON with socket_id and channel_name.")
	case kind == "application/json":
		raw, err := x.readBody()
		if err != nil {
			return "", "", err
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			return "", "", malformed(0, "the body is no object with the texts socket_id and channel_name")
		}
	default:
		var raw bytes.Buffer
		if _, err := raw.ReadFrom(io.LimitReader(x.r.Body, maxForm+1)); err != nil || raw.Len() > maxForm {
			return "", "", order.Errorf(order.CodePayloadTooLarge, "The form is larger than %d bytes, or broke off.", maxForm)
		}
		form, err := url.ParseQuery(raw.String())
		if err != nil {
			return "", "", order.Invalid("body", "is no well-formed form")
		}
		for _, field := range []string{"socket_id", "channel_name"} {
			if len(form[field]) > 1 {
				f.add(field, "must be given once")
			}
		}
		if err := f.err(); err != nil {
			return "", "", err
		}
		body.SocketID, body.ChannelName = form.Get("socket_id"), form.Get("channel_name")
	}
	if !socketID(body.SocketID) {
		f.add("socket_id", "must be the connection's socket id, such as 123.456")
	}
	if body.ChannelName == "" || len(body.ChannelName) > 164 {
		f.add("channel_name", "must be the name of a channel")
	}
	return body.SocketID, body.ChannelName, f.err()
}

// maxForm is how long a form may be, in bytes.
const maxForm = 4 << 10

// socketID reports whether a text is the id of a connection: two numbers with a dot between. Anything else could make a
// signature that stands for something other than it seems to.
func socketID(text string) bool {
	first, second, found := strings.Cut(text, ".")
	digits := func(part string) bool {
		return part != "" && len(part) <= 20 && strings.Trim(part, "0123456789") == ""
	}
	return found && digits(first) && digits(second)
}
