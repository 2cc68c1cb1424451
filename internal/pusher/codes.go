package pusher

import "strconv"

// Code is an error code of the protocol, which is also the close code of the connection. Its range decides how a client reacts:
//
//	4000–4099  do not reconnect
//	4100–4199  reconnect after a second or more
//	4200–4299  reconnect at once
//	4300–4399  stay connected
type Code struct {
	Number int
	Text   string // for people
}

// String is the code as logs show it.
func (c Code) String() string { return strconv.Itoa(c.Number) + " " + c.Text }

// Codes are the codes that the server uses, those of RFC 6455, section 7.4, included. The protocol's other codes have no cause
// here: 4000 (TLS only), 4003 (application disabled), 4004 (quota), 4200 (reconnect at once, which would bring all clients at
// the same moment) and 4202 (closed after inactivity).
type Codes struct {
	UnknownApp         Code
	InvalidVersion     Code
	UnsupportedVersion Code
	NoVersion          Code
	OriginNotAllowed   Code
	OverCapacity       Code // too many connections, in all or of this address
	ShuttingDown       Code
	RateExceeded       Code // more messages or bytes than a client may send
	NoPong             Code // neither a message within the activity time-out, nor an answer to the ping after it
	NotSupported       Code // client events, sign-in and other events that the server does not know
	InvalidMessage     Code
	NoChannel          Code // a subscription without the name of a channel

	InvalidClose Code // a close frame of one byte
	InvalidUTF8  Code
	TooLong      Code // a frame whose length does not fit the WebSocket library's counters
}

// AllCodes returns the table.
func AllCodes() Codes {
	return Codes{
		UnknownApp:         Code{4001, "Unknown application key."},
		InvalidVersion:     Code{4006, "The protocol version is not a number."},
		UnsupportedVersion: Code{4007, "Unsupported protocol version: use 7."},
		NoVersion:          Code{4008, "Missing protocol version: add protocol=7 to the query."},
		OriginNotAllowed:   Code{4009, "Origin not allowed: add it to the setting allowed-origins."},
		OverCapacity:       Code{4100, "Too many connections. Try again shortly."},
		ShuttingDown:       Code{4100, "The server is shutting down. Reconnect."},
		RateExceeded:       Code{4100, "Too many messages. Reconnect and send fewer."},
		NoPong:             Code{4201, "No pong was received in time."},
		NotSupported:       Code{4301, "Unsupported event: clients can subscribe, unsubscribe and ping."},
		InvalidMessage:     Code{4301, "The message is not a JSON object with an event."},
		NoChannel:          Code{4301, "The message has no channel."},

		InvalidClose: Code{1002, "A close frame is either empty or begins with a code of two bytes."},
		InvalidUTF8:  Code{1007, "The text is not valid UTF-8."},
		TooLong:      Code{1009, "The message is too long."},
	}
}
