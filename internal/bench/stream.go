package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// streamEvent is one server-sent event of an order's stream.
type streamEvent struct {
	name string // such as "OrderPaid"
	at   time.Time
	data []byte
}

// last reports whether it is the last event of an order.
func (e streamEvent) last() bool {
	return e.name == "OrderPaid" || e.name == "OrderFailed" || e.name == "OrderCancelled"
}

// follow reads an order's events, the past ones first, and calls handle for each until the order is finished. A stream that ends
// earlier is an error.
func (w *apiClient) follow(ctx context.Context, id int64, handle func(streamEvent) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	path := ordersPath + "/" + strconv.FormatInt(id, 10) + "/events"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(w.base, "/")+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := w.http.Do(request)
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("GET %s: status %d: %s", path, response.StatusCode, body)
	}
	finished := false
	err = readStream(response.Body, func(e streamEvent) error {
		finished = e.last()
		if err := handle(e); err != nil || !finished {
			return err
		}
		return io.EOF
	})
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", path, err)
	case !finished:
		return fmt.Errorf("GET %s: the stream ended before the order was finished", path)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, bufferSize)) // so that the connection can be reused
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// readStream reads server-sent events (WHATWG HTML, section 9.2) until the end, or until handle returns io.EOF. An event without a
// name gets the type in its data.
func readStream(from io.Reader, handle func(streamEvent) error) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxBody)
	var e streamEvent
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case lines.Text() == "":
			if len(e.data) > 0 {
				e.at = time.Now()
				if e.name == "" {
					e.name = typeOf(e.data)
				}
				if err := handle(e); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
			}
			e = streamEvent{}
		case field == "event":
			e.name = value
		case field == "data":
			e.data = append(append(e.data, value...), '\n')
		}
	}
	return lines.Err()
}

func typeOf(data []byte) string {
	var event struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &event) != nil {
		return ""
	}
	return event.Type
}
