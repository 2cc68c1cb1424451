package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
)

// Bounds of an answer; an answer beyond them is malformed.
const (
	maxBody    = 1 << 20 // bytes
	maxHeaders = 100
	maxInterim = 10 // 1xx answers before the final one
	bufferSize = 4096
)

// errMalformed is in the chain of every error about an answer that is not valid HTTP/1.1 (RFC 9112).
var errMalformed = errors.New("malformed answer")

// answer is the answer to one request. Its body is valid until the next answer is read.
type answer struct {
	status     int
	body       []byte
	retryAfter string
	last       bool // the server closes the connection after it
}

// framing determines the end of a body: its length, chunks, or (neither) the end of the connection.
type framing struct {
	length  int // -1: none
	chunked bool
}

// readAnswer reads one answer to a POST. It reads the body into buffer, or a larger one. It is strict, since a driver that misreads
// answers counts wrongly: two lengths, a length with chunks or a folded header are errors. io.EOF means that the connection ended
// before the first byte; any later end is io.ErrUnexpectedEOF.
func readAnswer(in *bufio.Reader, buffer []byte) (answer, error) {
	for range maxInterim {
		a, frame, err := readHead(in)
		if err != nil {
			return answer{}, err
		}
		if a.status < 200 {
			continue
		}
		if a.status == 204 || a.status == 304 { // these have no body, whatever their headers say
			return a, nil
		}
		if frame.length < 0 && !frame.chunked {
			a.last = true
		}
		if a.body, err = readBody(in, frame, buffer); err != nil {
			return answer{}, fmt.Errorf("read the body: %w", unexpected(err))
		}
		return a, nil
	}
	return answer{}, fmt.Errorf("%w: more than %d interim answers", errMalformed, maxInterim)
}

func readHead(in *bufio.Reader) (answer, framing, error) {
	frame := framing{length: -1}
	line, err := readLine(in)
	if err != nil {
		return answer{}, frame, err
	}
	a, err := parseStatus(line)
	if err != nil {
		return answer{}, frame, err
	}
	old := a.last // HTTP/1.0
	for range maxHeaders {
		if line, err = readLine(in); err != nil {
			return answer{}, frame, unexpected(err)
		}
		if len(line) == 0 {
			if frame.chunked && (frame.length >= 0 || old) {
				return answer{}, frame, fmt.Errorf("%w: chunks beside a length, or from HTTP/1.0", errMalformed)
			}
			return a, frame, nil
		}
		if err := a.header(line, &frame); err != nil {
			return answer{}, frame, err
		}
	}
	return answer{}, frame, fmt.Errorf("%w: more than %d headers", errMalformed, maxHeaders)
}

// readLine returns the next line without its end. It is valid until the next read.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a header line over %d bytes", errMalformed, bufferSize)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// parseStatus reads a status line such as "HTTP/1.1 201 Created".
func parseStatus(line []byte) (answer, error) {
	const digits = len("HTTP/1.1 ")
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1."))
	if !ok || len(line) < digits+3 || rest[1] != ' ' || (rest[0] != '0' && rest[0] != '1') ||
		(len(line) > digits+3 && line[digits+3] != ' ') {
		return answer{}, fmt.Errorf("%w: %.40q is not an HTTP/1.1 status line", errMalformed, line)
	}
	status, ok := parseNumber(line[digits:digits+3], 599)
	if !ok || status < 100 || status == 101 {
		return answer{}, fmt.Errorf("%w: %.40q has an invalid status", errMalformed, line)
	}
	return answer{status: status, last: rest[0] == '0'}, nil
}

// header evaluates a header line: framing, Connection and Retry-After.
func (a *answer) header(line []byte, frame *framing) error {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return fmt.Errorf("%w: %.40q is not a header line", errMalformed, line)
	}
	value = bytes.Trim(value, " \t")
	switch len(name) { // cheaper than comparing every name
	case len("connection"):
		if bytes.EqualFold(name, []byte("connection")) && bytes.EqualFold(value, []byte("close")) {
			a.last = true
		}
	case len("retry-after"):
		if bytes.EqualFold(name, []byte("retry-after")) {
			a.retryAfter = string(value)
		}
	case len("content-length"):
		if !bytes.EqualFold(name, []byte("content-length")) {
			break
		}
		length, ok := parseNumber(value, maxBody)
		if !ok || frame.length >= 0 {
			return fmt.Errorf("%w: content length %.20q; there must be one, from 0 to %d", errMalformed, value, maxBody)
		}
		frame.length = length
	case len("transfer-encoding"):
		if !bytes.EqualFold(name, []byte("transfer-encoding")) {
			break
		}
		if !bytes.EqualFold(value, []byte("chunked")) || frame.chunked {
			return fmt.Errorf("%w: transfer encoding %.20q", errMalformed, value)
		}
		frame.chunked = true
	}
	return nil
}

// readBody reads a body of at most maxBody bytes into buffer, or a larger one.
func readBody(in *bufio.Reader, frame framing, buffer []byte) ([]byte, error) {
	if frame.length >= 0 {
		if cap(buffer) < frame.length {
			buffer = make([]byte, frame.length)
		}
		buffer = buffer[:frame.length]
		_, err := io.ReadFull(in, buffer)
		return buffer, err
	}
	from := io.Reader(in)
	if frame.chunked {
		from = httputil.NewChunkedReader(in)
	}
	body, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%w: a body over %d bytes", errMalformed, maxBody)
	}
	if frame.chunked {
		err = skipTrailers(in)
	}
	return body, err
}

// skipTrailers reads the trailers after the last chunk, and the empty line.
func skipTrailers(in *bufio.Reader) error {
	for range maxHeaders {
		line, err := readLine(in)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		if !bytes.ContainsRune(line, ':') {
			return fmt.Errorf("%w: %.40q is not a trailer", errMalformed, line)
		}
	}
	return fmt.Errorf("%w: more than %d trailers", errMalformed, maxHeaders)
}

// parseNumber reads plain decimal digits up to most.
func parseNumber(digits []byte, most int) (int, bool) {
	if len(digits) == 0 || len(digits) > 10 {
		return 0, false
	}
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + int(d-'0')
	}
	return n, n <= most
}

// unexpected turns io.EOF into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// orderID returns the order's id in the body of a 201: the first member named "id", since the body begins with `{"data":{"id":…`.
// Quotes inside a JSON string are escaped, so a text of a customer cannot match. 0 when there is none.
func orderID(body []byte) int64 {
	_, rest, ok := bytes.Cut(body, []byte(`"id":`))
	if !ok {
		return 0
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	var id int64
	for i, d := range rest {
		if d < '0' || d > '9' {
			break
		}
		if i == 16 { // ids are below 2^53
			return 0
		}
		id = 10*id + int64(d-'0')
	}
	return id
}

// errorCode returns the code in the body of an error, such as "insufficient_stock"; "" when there is none.
func errorCode(body []byte) string {
	_, rest, ok := bytes.Cut(body, []byte(`"error":`))
	if !ok {
		return ""
	}
	rest, ok = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte{'"'})
	if !ok {
		return ""
	}
	end := bytes.IndexByte(rest, '"')
	if end < 1 || end > 64 {
		return ""
	}
	return string(rest[:end])
}
