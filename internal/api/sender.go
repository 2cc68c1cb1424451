package api

import (
	"errors"
	"net/http"
	"time"

	"orderflow/internal/order"
	"orderflow/internal/web"
)

const (
	eventStream  = "text/event-stream" // the media type of server-sent events
	retryAdvised = "retry: 1000\n"     // milliseconds until a client whose stream ended reconnects
)

// sender writes server-sent events.
type sender struct {
	rc      *requestContext
	control *http.ResponseController
	err     error // the first write error; nothing is sent after it
}

// begin sends the headers.
func (s *sender) begin() {
	h := s.rc.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Accel-Buffering", "no") // nginx must not buffer
	h.Set("Connection", "close")     // the write deadlines must not outlive the stream
	s.rc.WriteHeader(http.StatusOK)
	s.write([]byte(retryAdvised + "\n"))
}

// send writes events, or a comment when there are none and one is due.
func (s *sender) send(events []order.Event, comment bool) {
	out := s.rc.out[:0]
	for i := range events {
		out = append(out, "id: "...)
		out = append(out, events[i].ID()...)
		out = append(out, "\nevent: "...)
		out = append(out, events[i].Type...)
		out = append(out, "\ndata: "...)
		out = appendEvent(out, &events[i]) // has no line breaks: JSON strings escape them
		out = append(out, '\n', '\n')
	}
	if len(events) == 0 && comment {
		out = append(out, ":\n\n"...)
	}
	s.rc.out = out
	s.write(out)
}

// write sends bytes at once. Each write has a deadline of its own, instead of the server's limit on a whole answer.
func (s *sender) write(p []byte) {
	if s.err != nil || len(p) == 0 {
		return
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(web.AnswerWrite)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		s.err = err
		return
	}
	if _, s.err = s.rc.w.Write(p); s.err == nil {
		s.err = s.control.Flush()
	}
}
