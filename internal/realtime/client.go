package realtime

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gorilla/websocket"

	"orderflow/internal/pusher"
)

// clientMessage is a message of a client.
type clientMessage struct {
	Event   string         `json:"event"`
	Channel string         `json:"channel"`
	Data    jsontext.Value `json:"data"`
}

// subscription is the data of a subscribe or unsubscribe.
type subscription struct {
	Channel     string `json:"channel"`
	Auth        string `json:"auth"`
	ChannelData string `json:"channel_data"`
}

// read handles the client's messages until the connection ends. It is the conn's reader, one goroutine.
func (c *conn) read(ctx context.Context) {
	defer c.hub.remove(c)
	for {
		kind, text, err := c.next()
		if err != nil {
			c.hub.unsubscribeAll(c)
			c.finish(err)
			return
		}
		if c.accept(time.Now()) {
			c.handle(ctx, kind, text)
		}
	}
}

// errNotUTF8 ends a connection whose client sends text that is not UTF-8.
var errNotUTF8 = errors.New("realtime: the client sends text that is not UTF-8")

// next returns the next message of the client. It checks a text while it arrives, fragment by fragment, so that an invalid one ends the
// connection at its first invalid byte. When the library reports an error without a close frame, next queues one.
func (c *conn) next() (kind int, text []byte, err error) {
	kind, message, err := c.ws.NextReader()
	checked := 0
	for err == nil {
		if len(text) == cap(text) {
			text = slices.Grow(text, readSize)
		}
		var n int
		n, err = message.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if kind == websocket.TextMessage {
			valid, ok := validText(text[checked:], errors.Is(err, io.EOF))
			if !ok {
				c.closeWith(c.hub.codes.InvalidUTF8)
				return 0, nil, errNotUTF8
			}
			checked += valid
		}
	}
	if errors.Is(err, io.EOF) && message != nil { // end of the message
		return kind, text, nil
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		c.closeWith(c.hub.codes.TooLong) // no effect if the library has already queued a close frame
	}
	return 0, nil, err
}

// validText returns how many leading bytes of text are complete characters of UTF-8. ok is false when no further bytes could
// make the text valid, and also for an incomplete character at the end of a complete text.
func validText(text []byte, complete bool) (n int, ok bool) {
	for n < len(text) {
		if !complete && !utf8.FullRune(text[n:]) {
			return n, true
		}
		char, size := utf8.DecodeRune(text[n:])
		if char == utf8.RuneError && size == 1 {
			return n, false
		}
		n += size
	}
	return n, true
}

// accept counts a message, ping or pong of the client, and reports whether to handle it. While the connection is being closed, input
// is ignored.
func (c *conn) accept(now time.Time) bool {
	c.received.Store(now.UnixNano())
	if c.isClosing() {
		return false
	}
	if !c.messages.take(1, now, messageBurst, messageRate) {
		c.closeWith(c.hub.codes.RateExceeded)
		return false
	}
	return true
}

// handle handles a message.
func (c *conn) handle(ctx context.Context, kind int, text []byte) {
	var m clientMessage
	if kind != websocket.TextMessage || json.Unmarshal(text, &m) != nil || m.Event == "" {
		c.send(errorMessage(c.hub.codes.InvalidMessage, ""))
		return
	}
	switch m.Event {
	case eventPing:
		c.send(c.hub.pong)
	case eventPong: // accept has noted the time
	case eventSubscribe, eventUnsubscribe:
		var s subscription
		switch {
		case json.Unmarshal(objectData(m.Data), &s) != nil || s.Channel == "":
			c.send(errorMessage(c.hub.codes.NoChannel, ""))
		case m.Event == eventSubscribe:
			c.subscribe(ctx, s)
		default:
			c.hub.unsubscribe(c, s.Channel)
		}
	default: // client-…, pusher:signin and others
		c.send(errorMessage(c.hub.codes.NotSupported, m.Channel))
	}
}

// objectData returns the data of a message: an object or, as some clients send it, a string that contains one.
func objectData(data jsontext.Value) []byte {
	if data.Kind() != '"' {
		return data
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	return []byte(text)
}

// refusal is the reason of a pusher:subscription_error.
type refusal struct {
	kind    string
	message string
	status  int // of HTTP
}

// refusals are all reasons.
type refusals struct{ invalidName, presence, notAuthorized, tooMany refusal }

func newRefusals() refusals {
	return refusals{
		invalidName:   refusal{"InvalidChannel", "Invalid channel name: use 1 to 164 letters, digits and _-=@,.; only.", http.StatusBadRequest},
		presence:      refusal{"NotSupported", "Presence channels are not supported.", http.StatusBadRequest},
		notAuthorized: refusal{"AuthError", "The signature is not valid for this connection and channel.", http.StatusUnauthorized},
		tooMany:       refusal{"LimitReached", "The connection has reached its limit of channels.", http.StatusTooManyRequests},
	}
}

// subscribe subscribes the client to a channel, or sends it the reason why not.
func (c *conn) subscribe(ctx context.Context, s subscription) {
	switch refusals := &c.hub.refusals; {
	case c.subscribed(s.Channel):
		c.send(message(eventSubscribed, s.Channel, "{}"))
	case !pusher.ValidChannel(s.Channel):
		c.refuse(s.Channel, refusals.invalidName)
	case pusher.IsPresence(s.Channel):
		c.refuse(s.Channel, refusals.presence)
	case pusher.IsPrivate(s.Channel) && !c.hub.options.App.AllowsChannel(s.Auth, c.id, s.Channel, s.ChannelData):
		c.refuse(s.Channel, refusals.notAuthorized)
	case len(c.members) >= c.hub.options.MaxChannels:
		c.refuse(s.Channel, refusals.tooMany)
	default:
		if pusher.IsCache(s.Channel) {
			c.hub.lastEvents.fetch(ctx, s.Channel)
		}
		c.hub.subscribe(c, strings.Clone(s.Channel))
	}
}

func (c *conn) refuse(channel string, reason refusal) {
	c.hub.metrics.refused.Inc()
	c.send(subscriptionError(channel, reason))
}

// subscribed reports whether the conn is subscribed to a channel.
func (c *conn) subscribed(channel string) bool {
	for _, m := range c.members {
		if m.channel.name == channel {
			return true
		}
	}
	return false
}
