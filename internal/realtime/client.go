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
)

// said is a message of a client.
type said struct {
	Event   string         `json:"event"`
	Channel string         `json:"channel"`
	Data    jsontext.Value `json:"data"`
}

// wish is the data of a subscribe or unsubscribe.
type wish struct {
	Channel     string `json:"channel"`
	Auth        string `json:"auth"`
	ChannelData string `json:"channel_data"`
}

// read answers what the client says until the connection ends. It is the conn's reader: one goroutine.
func (c *conn) read(ctx context.Context) {
	defer c.hub.leave(c)
	for {
		kind, text, err := c.next()
		if err != nil {
			c.hub.unsubscribeAll(c)
			c.close(err)
			return
		}
		if c.listen(time.Now()) {
			c.answer(ctx, kind, text)
		}
	}
}

// errNotUTF8 ends a connection whose client sends text that is not UTF-8.
var errNotUTF8 = errors.New("realtime: the client sends text that is not UTF-8")

// next returns the next message of the client. A text is checked while it arrives, fragment by fragment, so that an invalid
// one ends the connection at its first invalid byte. When the library reports a fault without a close frame, next queues one.
func (c *conn) next() (kind int, text []byte, err error) {
	kind, message, err := c.ws.NextReader()
	checked := 0
	for err == nil {
		if len(text) == cap(text) {
			text = slices.Grow(text, readRoom)
		}
		var n int
		n, err = message.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if kind == websocket.TextMessage {
			valid, ok := validText(text[checked:], errors.Is(err, io.EOF))
			if !ok {
				c.end(c.hub.codes.notUTF8)
				return 0, nil, errNotUTF8
			}
			checked += valid
		}
	}
	if errors.Is(err, io.EOF) && message != nil { // of the message
		return kind, text, nil
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		c.end(c.hub.codes.tooLong) // nothing is queued when the library has said so itself
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

// listen counts a message, ping or pong of the client, and reports whether it is to be heard. While the connection is being
// closed nothing is, until the deadline of the close.
func (c *conn) listen(now time.Time) bool {
	c.heard.Store(now.UnixNano())
	if c.over() {
		return false
	}
	if !c.words.take(now, wordsAtOnce, wordsPerSecond) {
		c.end(c.hub.codes.tooManyWords)
		return false
	}
	return true
}

// answer does what a message asks for.
func (c *conn) answer(ctx context.Context, kind int, text []byte) {
	var m said
	if kind != websocket.TextMessage || json.Unmarshal(text, &m) != nil || m.Event == "" {
		c.send(errorMessage(c.hub.codes.badMessage, ""))
		return
	}
	switch m.Event {
	case eventPing:
		c.send(c.hub.pong)
	case eventPong: // that it came is all it says
	case eventSubscribe, eventUnsubscribe:
		var w wish
		switch {
		case json.Unmarshal(plainData(m.Data), &w) != nil || w.Channel == "":
			c.send(errorMessage(c.hub.codes.badChannel, ""))
		case m.Event == eventSubscribe:
			c.subscribe(ctx, w)
		default: // a channel that cannot be has no place to give back
			c.hub.unsubscribe(c, w.Channel)
		}
	default: // client-…, pusher:signin and all else
		c.send(errorMessage(c.hub.codes.notSupported, m.Channel))
	}
}

// plainData is the data of a message: an object, or, as some clients send it, a string that holds one.
func plainData(data jsontext.Value) []byte {
	if data.Kind() != '"' {
		return data
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	return []byte(text)
}

// refusal is why a subscription is refused, as the client is told on the channel.
type refusal struct {
	kind   string
	why    string
	status int // of HTTP
}

// refusals are all of them.
type refusals struct{ badName, presence, notSigned, tooMany refusal }

func newRefusals() refusals {
	return refusals{
		badName:   refusal{"InvalidChannel", "A channel's name has 1 to 164 letters, digits and _-=@,.; in it.", http.StatusBadRequest},
		presence:  refusal{"NotSupported", "Presence channels are not supported.", http.StatusBadRequest},
		notSigned: refusal{"AuthError", "The signature does not allow this connection to subscribe to this channel.", http.StatusUnauthorized},
		tooMany:   refusal{"LimitReached", "The connection has as many channels as it may have.", http.StatusTooManyRequests},
	}
}

// subscribe lets the client listen to a channel, or tells it why not.
func (c *conn) subscribe(ctx context.Context, w wish) {
	switch refusals := &c.hub.refusals; {
	case c.listens(w.Channel):
		c.send(message(eventSubscribed, w.Channel, "{}")) // as it did before
	case !validChannel(w.Channel):
		c.refuse(w.Channel, refusals.badName)
	case isPresence(w.Channel):
		c.refuse(w.Channel, refusals.presence)
	case isPrivate(w.Channel) && !c.hub.options.App.allows(w.Auth, c.id, w.Channel, w.ChannelData):
		c.refuse(w.Channel, refusals.notSigned)
	case len(c.members) >= c.hub.options.MaxChannels:
		c.refuse(w.Channel, refusals.tooMany)
	default:
		if isCache(w.Channel) {
			c.hub.lasts.learn(ctx, w.Channel)
		}
		c.hub.subscribe(c, strings.Clone(w.Channel))
	}
}

func (c *conn) refuse(channel string, why refusal) {
	c.hub.metrics.refused.Inc()
	c.send(subscriptionError(channel, why))
}

// listens reports whether the conn has a place in a channel.
func (c *conn) listens(channel string) bool {
	for _, m := range c.members {
		if m.channel.name == channel {
			return true
		}
	}
	return false
}
