package chaos

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"orderflow/test/env"
)

// The ways in which an exchange can end without an answer. An ordinary HTTP client would not tell the first two apart,
// and sends some requests again by itself.
var (
	errNoAnswer = errors.New("refused, or closed before the first byte of an answer")
	errCut      = errors.New("the answer was cut off")
	errHung     = errors.New("no answer in a minute")
)

// wire is one client's connection to a server, kept between requests as long as the server allows. It is for one goroutine.
type wire struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

// answer is a complete response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request and reads the response. The error is errNoAnswer, errCut or errHung.
func (w *wire) ask(addr, method, path, body string) (answer, error) {
	a, err := w.exchange(addr, method, path, body)
	if err != nil || a.header.Get("Connection") == "close" {
		w.close()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errHung
	}
	return a, err
}

func (w *wire) exchange(addr, method, path, body string) (answer, error) {
	if w.conn != nil && w.addr != addr {
		w.close()
	}
	if w.conn == nil {
		conn, err := net.DialTimeout("tcp", addr, env.Patience)
		if err != nil {
			return answer{}, fmt.Errorf("%w: %w", errNoAnswer, err)
		}
		w.addr, w.conn, w.in = addr, conn, bufio.NewReader(conn)
	}
	if err := w.conn.SetDeadline(time.Now().Add(env.Patience)); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	var request strings.Builder
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, addr)
	if body != "" {
		fmt.Fprintf(&request, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(&request, "\r\n%s", body)
	// A server that closes an idle connection may have answered first: what came is read whatever became of the write.
	_, writeErr := io.WriteString(w.conn, request.String())
	if _, err := w.in.Peek(1); err != nil {
		return answer{}, fmt.Errorf("%w: %w", errNoAnswer, errors.Join(writeErr, err))
	}
	response, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errCut, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", errCut, err)
	}
	header := response.Header
	if response.Close { // ReadResponse takes the header away
		header.Set("Connection", "close")
	}
	return answer{response.StatusCode, header, content}, nil
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close() // nothing is owed on it
	}
	w.conn, w.in = nil, nil
}

// shown is an order as the API returns it, with the fields that these tests use.
type shown struct {
	ID     int64  `json:"id"`
	UserID int64  `json:"user_id"`
	Status string `json:"status"`
	Key    string `json:"idempotency_key"`
}

// order reads a response that holds one order.
func (a answer) order() (shown, error) {
	var body struct {
		Data shown `json:"data"`
	}
	err := json.Unmarshal(a.body, &body)
	if err == nil && body.Data.ID == 0 {
		err = errors.New("no order in it")
	}
	return body.Data, err
}

// code returns the error code of a response, "" when it is not an error.
func (a answer) code() string {
	var body struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(a.body, &body) // what is no error has no code
	return body.Error
}

// String is the answer for a message.
func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }
