package main

import (
	"bytes"
	"context"
	"net/http"

	"github.com/gorilla/websocket"
)

// socketIOWire is the protocol of socket.io 4 over a WebSocket (Engine.IO 4 with Socket.IO 5), and the path for publishing of
// socketio/server.mjs. The first digit of a text is Engine.IO's: 0 open, 2 ping, 3 pong, 4 message; a
// message's first digit is Socket.IO's: 0 connect, 2 event, 3 answer to an event.
type socketIOWire struct{}

func (socketIOWire) url(addr string) string {
	return "ws://" + addr + "/socket.io/?EIO=4&transport=websocket"
}

func (socketIOWire) join(ws *websocket.Conn, channel string) error {
	if _, err := expect(ws, "0"); err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40")); err != nil {
		return err
	}
	if _, err := expect(ws, "40"); err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`420["join","`+channel+`"]`)); err != nil { // with an acknowledgement, 0
		return err
	}
	_, err := expect(ws, "430")
	return err
}

func (socketIOWire) reply(text []byte) string {
	if bytes.Equal(text, []byte("2")) {
		return "3"
	}
	return ""
}

func (socketIOWire) publish(ctx context.Context, addr string, messages []message) (*http.Request, error) {
	body := []byte{'['}
	for i, m := range messages {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(body, `{"event":"`+eventName+`","channel":"`...), m.channel...)
		body = append(append(body, `","data":"`...), m.data...)
		body = append(body, `"}`...)
	}
	body = append(body, ']')
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/publish", bytes.NewReader(body))
	if err == nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, err
}
