package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// wire is the protocol of a server.
type wire interface {
	// url returns the address of WebSockets on a server at addr, HOST:PORT.
	url(addr string) string
	// join subscribes a new connection to a channel and waits for the confirmation.
	join(ws *websocket.Conn, channel string) error
	// reply returns the answer to a text that is not a delivery, "" for none.
	reply(text []byte) string
	// publish returns a request that publishes at most batchMax messages.
	publish(ctx context.Context, addr string, messages []message) (*http.Request, error)
}

// wireOf returns the protocol of a subject.
func wireOf(subject string) (wire, error) {
	switch subject {
	case orderflow:
		return pusherWire{}, nil
	case socketIO:
		return socketIOWire{}, nil
	default:
		return nil, fmt.Errorf("unknown server %q", subject)
	}
}

// Names of the servers.
const (
	orderflow = "orderflow"
	socketIO  = "socket.io"
)

// eventName is the event of all messages.
const eventName = "tick"

// batchMax limits the messages of a request, as Pusher does.
const batchMax = 10

// message is a message to publish. Its data needs no escaping in JSON.
type message struct {
	channel string
	data    []byte
}

// channelName returns the name of the i-th channel.
func channelName(i int) string { return fmt.Sprintf("c%d", i) }

// joinTimeout limits connecting and subscribing.
const joinTimeout = 20 * time.Second

// expect reads messages until one begins with want, and returns it.
func expect(ws *websocket.Conn, want string) ([]byte, error) {
	const unrelated = 3 // messages that may precede it
	var text []byte
	for range unrelated {
		_, next, err := ws.ReadMessage()
		if err != nil {
			return nil, fmt.Errorf("waiting for %s, after %q: %w", want, text, err)
		}
		if text = next; bytes.HasPrefix(text, []byte(want)) {
			return text, nil
		}
	}
	return nil, fmt.Errorf("the server sent %q instead of %s", text, want)
}
