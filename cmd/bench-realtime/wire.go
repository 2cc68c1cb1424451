package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// wire is the protocol of a server: how to subscribe, and how to publish.
type wire interface {
	// url is where WebSockets connect on a server at addr, HOST:PORT.
	url(addr string) string
	// join subscribes a new connection to a channel, and returns when the server has confirmed that.
	join(ws *websocket.Conn, channel string) error
	// other returns what is to be said to a text that delivers nothing; "" for nothing.
	other(text []byte) string
	// publish is a request that publishes messages, at most batchMax.
	publish(ctx context.Context, addr string, messages []message) (*http.Request, error)
}

// wireOf returns the protocol of a subject.
func wireOf(subject string) (wire, error) {
	switch subject {
	case orderflow:
		return pusherWire{}, nil
	case socketIO:
		return engineWire{}, nil
	default:
		return nil, fmt.Errorf("no server is called %q", subject)
	}
}

// Names of the servers.
const (
	orderflow = "orderflow"
	socketIO  = "socket.io"
)

// eventName is what all messages are called.
const eventName = "tick"

// batchMax is how many messages a request publishes at most; Pusher's own bound.
const batchMax = 10

// message is one that is published. Its data needs no escaping in JSON.
type message struct {
	channel string
	data    []byte
}

// channelName is the name of the i-th channel.
func channelName(i int) string { return fmt.Sprintf("c%d", i) }

// joinWithin is how long a server may take to let a connection in.
const joinWithin = 20 * time.Second

// expect reads messages until one begins with what is wanted, and returns it.
func expect(ws *websocket.Conn, want string) ([]byte, error) {
	const unrelated = 3 // messages that may come before it
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
	return nil, fmt.Errorf("the server said %q instead of %s", text, want)
}
