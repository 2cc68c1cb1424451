package main

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"orderflow/internal/pusher"
)

// application is the application of the measured server.
func application() pusher.App {
	return pusher.App{ID: "app", Key: "key", Secret: "secret of the measurement"}
}

// pusherWire is version 7 of the Pusher Channels protocol, with its HTTP API.
type pusherWire struct{}

func (pusherWire) url(addr string) string {
	return "ws://" + addr + "/app/" + application().Key + "?protocol=7"
}

func (w pusherWire) join(ws *websocket.Conn, channel string) error {
	if _, err := expect(ws, `{"event":"pusher:connection_established"`); err != nil {
		return err
	}
	return w.subscribe(ws, channel, "")
}

// subscribe subscribes to a channel; auth is "" for a public one.
func (pusherWire) subscribe(ws *websocket.Conn, channel, auth string) error {
	text := `{"event":"pusher:subscribe","data":{"channel":"` + channel + `","auth":"` + auth + `"}}`
	if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return err
	}
	_, err := expect(ws, `{"event":"pusher_internal:subscription_succeeded"`)
	return err
}

func (pusherWire) reply(text []byte) string {
	if bytes.Contains(text, []byte(`"pusher:ping"`)) {
		return `{"event":"pusher:pong","data":"{}"}`
	}
	return ""
}

func (pusherWire) publish(ctx context.Context, addr string, messages []message) (*http.Request, error) {
	body := []byte(`{"batch":[`)
	for i, m := range messages {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(append(body, `{"name":"`+eventName+`","channel":"`...), m.channel...)
		body = append(append(body, `","data":"`...), m.data...)
		body = append(body, `"}`...)
	}
	body = append(body, `]}`...)
	app := application()
	path := "/apps/" + app.ID + "/batch_events"
	query := app.SignRequest(http.MethodPost, path, body, time.Now()).Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path+"?"+query, bytes.NewReader(body))
	if err == nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, err
}
