package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// The application that the measured server has.
const (
	appID     = "app"
	appKey    = "key"
	appSecret = "secret of the measurement"
)

// pusher is version 7 of the Pusher Channels protocol, and its HTTP API.
type pusher struct{}

func (pusher) url(addr string) string { return "ws://" + addr + "/app/" + appKey + "?protocol=7" }

func (p pusher) join(ws *websocket.Conn, channel string) error {
	if _, err := expect(ws, `{"event":"pusher:connection_established"`); err != nil {
		return err
	}
	return p.subscribe(ws, channel, "")
}

// subscribe needs no auth, "", for a public channel.
func (pusher) subscribe(ws *websocket.Conn, channel, auth string) error {
	said := `{"event":"pusher:subscribe","data":{"channel":"` + channel + `","auth":"` + auth + `"}}`
	if err := ws.WriteMessage(websocket.TextMessage, []byte(said)); err != nil {
		return err
	}
	_, err := expect(ws, `{"event":"pusher_internal:subscription_succeeded"`)
	return err
}

func (pusher) other(text []byte) string {
	if bytes.Contains(text, []byte(`"pusher:ping"`)) {
		return `{"event":"pusher:pong","data":"{}"}`
	}
	return ""
}

func (pusher) publish(ctx context.Context, addr string, messages []message) (*http.Request, error) {
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
	const path = "/apps/" + appID + "/batch_events"
	query := signed(http.MethodPost, path, appKey, appSecret, body, time.Now())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path+"?"+query, bytes.NewReader(body))
	if err == nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, err
}

// signed is the query that signs a request to the HTTP API, as Pusher documents it: the parameters in the order of their
// names, which none of ours changes by being escaped.
func signed(method, path, key, secret string, body []byte, now time.Time) string {
	sum := md5.Sum(body)
	query := "auth_key=" + key + "&auth_timestamp=" + strconv.FormatInt(now.Unix(), 10) + "&auth_version=1.0&body_md5=" +
		hex.EncodeToString(sum[:])
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(method + "\n" + path + "\n" + query))
	return query + "&auth_signature=" + hex.EncodeToString(mac.Sum(nil))
}
