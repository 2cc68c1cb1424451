package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"orderflow/internal/pusher"
)

// feedKey is the default key of the application.
const feedKey = "orderflow-key"

// viewers are browsers with the page Live: each has a stream of figures and a stream of orders.
type viewers struct {
	client http.Client
	cancel context.CancelFunc
	all    sync.WaitGroup

	lock sync.Mutex
	errs []error // of streams that ended too early
}

// openViewers opens the streams of n viewers.
func openViewers(ctx context.Context, at *server, n int) (*viewers, error) {
	ctx, cancel := context.WithCancel(ctx)
	v := &viewers{cancel: cancel}
	for range n {
		if err := errors.Join(v.figures(ctx, at), v.orders(ctx, at)); err != nil {
			return nil, errors.Join(err, v.close())
		}
	}
	return v, nil
}

// figures opens a stream of figures.
func (v *viewers) figures(ctx context.Context, at *server) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.url+"/console/live/events", nil)
	if err != nil {
		return err
	}
	response, err := v.client.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("the console answers %s", response.Status), response.Body.Close())
	}
	v.all.Go(func() {
		_, err := io.Copy(io.Discard, response.Body)
		_ = response.Body.Close() // it is read to its end
		v.ended(ctx, "the stream of figures", err)
	})
	return nil
}

// orders subscribes to the stream of orders.
func (v *viewers) orders(ctx context.Context, at *server) error {
	socket, response, err := websocket.DefaultDialer.DialContext(ctx, at.live+"/app/"+feedKey+"?protocol=7", nil)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // it is empty
	var hello struct{ Data string }
	var connection struct {
		SocketID string `json:"socket_id"`
	}
	if err := errors.Join(socket.ReadJSON(&hello), json.Unmarshal([]byte(hello.Data), &connection)); err != nil {
		return errors.Join(err, socket.Close())
	}
	auth, err := v.sign(ctx, at, connection.SocketID)
	if err == nil {
		err = socket.WriteJSON(map[string]any{"event": "pusher:subscribe", "data": map[string]string{"channel": pusher.FeedChannel, "auth": auth}})
	}
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	v.all.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
		defer stop()
		var err error
		for err == nil {
			_, _, err = socket.ReadMessage()
		}
		v.ended(ctx, "the stream of orders", err)
	})
	return nil
}

// sign gets the signature for a subscription.
func (v *viewers) sign(ctx context.Context, at *server, socketID string) (string, error) {
	form := url.Values{"socket_id": {socketID}, "channel_name": {pusher.FeedChannel}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.url+"/broadcasting/auth", strings.NewReader(form))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := v.client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct{ Auth string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Auth == "" {
		return "", fmt.Errorf("no signature (%s): %w", response.Status, err)
	}
	return answer.Auth, nil
}

// ended records the end of a stream, unless ctx has ended.
func (v *viewers) ended(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	v.lock.Lock()
	defer v.lock.Unlock()
	v.errs = append(v.errs, fmt.Errorf("%s ended: %w", what, err))
}

// close closes the streams. It returns an error when one ended before: then there were fewer viewers.
func (v *viewers) close() error {
	v.cancel()
	v.all.Wait()
	return errors.Join(v.errs...)
}
