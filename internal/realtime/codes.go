package realtime

import (
	"strconv"

	"github.com/gorilla/websocket"
)

// Code is an error code of the Pusher Channels protocol, which is the close code of the connection too. What a client
// does about it depends on the range that it is in (pusher.com/docs, "Pusher Channels Protocol", error codes):
//
//	4000–4099  give up: it would be refused again
//	4100–4199  come back after a second or more
//	4200–4299  come back at once
//	4300–4399  nothing: the connection stays
type Code struct {
	Number int
	Text   string // for people
}

// String is the code as logs show it.
func (c Code) String() string { return strconv.Itoa(c.Number) + " " + c.Text }

// codes are all codes that this server uses: those of the protocol, and those of RFC 6455, section 7.4, for what the WebSocket
// library does not check. Codes of the protocol that are not among them (4000: TLS only, 4003:
// application disabled, 4004: quota, 4200: come back at once, 4202: closed after inactivity) have no cause here: 4200
// above all, since clients that all come back at once are a storm.
type codes struct {
	unknownApp   Code // no such key in the path
	badVersion   Code // protocol is no number
	wrongVersion Code // a protocol that is not spoken here
	noVersion    Code // no protocol in the query
	badOrigin    Code // the origin is not allowed
	overCapacity Code // too many connections, of all or of this address
	goingAway    Code // the server shuts down
	tooManyWords Code // more messages than a client may send
	noPong       Code // nothing came for the activity time-out, nor an answer to the ping after it
	notSupported Code // client events, sign-in and whatever else there is not
	badMessage   Code // a message that is none
	badChannel   Code // a subscription without the name of a channel
	badClose     Code // a close frame of one byte
	notUTF8      Code // a text message that is not UTF-8
	tooLong      Code // a frame whose length does not fit the library's counters
}

func newCodes() codes {
	return codes{
		unknownApp:   Code{4001, "There is no application with this key."},
		badVersion:   Code{4006, "The protocol version is not a number."},
		wrongVersion: Code{4007, "This protocol version is not supported: use 7."},
		noVersion:    Code{4008, "No protocol version was given: add protocol=7 to the query."},
		badOrigin:    Code{4009, "Pages of this origin may not connect. The setting allowed-origins says which may."},
		overCapacity: Code{4100, "Too many connections. Try again shortly."},
		goingAway:    Code{4100, "The server is shutting down. Connect again."},
		tooManyWords: Code{4100, "Too many messages. Try again more slowly."},
		noPong:       Code{4201, "No pong came in time."},
		notSupported: Code{4301, "This event is not supported: clients subscribe, unsubscribe and ping."},
		badMessage:   Code{4301, "The message is not a JSON object with an event."},
		badChannel:   Code{4301, "The message names no channel."},

		badClose: Code{websocket.CloseProtocolError, "A close frame is empty or begins with a code of two bytes."},
		notUTF8:  Code{websocket.CloseInvalidFramePayloadData, "The text is not UTF-8."},
		tooLong:  Code{websocket.CloseMessageTooBig, "The message is too long."},
	}
}
