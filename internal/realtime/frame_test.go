package realtime

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"pgregory.net/rapid"

	"orderflow/internal/pusher"
)

// A WebSocket library reads frames of all lengths.
func TestFramesAreRead(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 127, 65_535, 65_536, 100_000}
	var frames []byte
	for _, n := range sizes {
		frames = appendFrame(frames, opText, bytes.Repeat([]byte{'x'}, n))
	}
	frames = append(frames, closeFrame(pusher.AllCodes().ShuttingDown)...)
	client := dialRaw(t, frames)
	for _, n := range sizes {
		kind, text, err := client.ReadMessage()
		if err != nil || kind != websocket.TextMessage || len(text) != n {
			t.Fatalf("%d bytes: kind %d, %d bytes, %v", n, kind, len(text), err)
		}
	}
	_, _, err := client.ReadMessage()
	if closed := new(websocket.CloseError); !errors.As(err, &closed) || closed.Code != 4100 || closed.Text != pusher.AllCodes().ShuttingDown.Text {
		t.Errorf("the close: %v", err)
	}
}

// dialRaw connects to a server that sends these bytes after the handshake.
func dialRaw(t *testing.T, frames []byte) *websocket.Conn {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		_, _ = ws.NetConn().Write(frames)
		_, _ = io.Copy(io.Discard, ws.NetConn())
		_ = ws.Close()
	}))
	t.Cleanup(server.Close)
	client, answer, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Dequeuing in parts returns all bytes once and in order.
func TestDequeue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &conn{}
		var want, got []byte
		for i := range rapid.IntRange(0, 20).Draw(t, "frames") {
			frame := bytes.Repeat([]byte{byte(i)}, rapid.IntRange(1, 50).Draw(t, "size"))
			c.queue, c.size, want = append(c.queue, frame), c.size+len(frame), append(want, frame...)
		}
		for len(c.queue) > 0 {
			got = append(got, c.dequeue(make([]byte, 0, rapid.IntRange(50, 120).Draw(t, "room")))...)
		}
		if !bytes.Equal(got, want) || c.size != 0 {
			t.Fatalf("got %v, want %v; size %d", got, want, c.size)
		}
	})
}

func FuzzCloseFrame(f *testing.F) {
	f.Add(4100, "text")
	f.Fuzz(func(t *testing.T, number int, text string) {
		frame := closeFrame(pusher.Code{Number: number, Text: text})
		if int(frame[1]) != len(frame)-2 || frame[1] > 125 || binary.BigEndian.Uint16(frame[2:]) != uint16(number) {
			t.Errorf("frame %v", frame)
		}
	})
}
