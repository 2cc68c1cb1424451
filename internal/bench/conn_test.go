package bench

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func parse(text string) (answer, error) {
	return readAnswer(bufio.NewReaderSize(strings.NewReader(text), bufferSize), nil)
}

func TestReadAnswer(t *testing.T) {
	tests := []struct {
		name, text string
		want       answer
	}{
		{"length", "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", answer{status: 201, body: []byte("{}")}},
		{"any case", "HTTP/1.1 201 Created\r\ncONTENT-lENGTH:2\r\n\r\n{}", answer{status: 201, body: []byte("{}")}},
		{"bare newlines", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", answer{status: 200, body: []byte("x")}},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", answer{status: 200, body: []byte("x")}},
		{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", answer{status: 200}},
		{"last", "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", answer{status: 200, last: true}},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", answer{status: 200, last: true}},
		{"to the end", "HTTP/1.1 200 OK\r\n\r\nrest", answer{status: 200, body: []byte("rest"), last: true}},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", answer{status: 204}},
		{"wait", "HTTP/1.1 429 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", answer{status: 429, retryAfter: "7"}},
		{"interim", "HTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", answer{status: 200}},
		{
			"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n",
			answer{status: 200, body: []byte("abc")},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(answer{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadAnswerRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"half a status line", "HTTP/1.1 2", io.ErrUnexpectedEOF},
		{"half the headers", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n", io.ErrUnexpectedEOF},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!", io.ErrUnexpectedEOF},
		{"half the chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", io.ErrUnexpectedEOF},
		{"another protocol", "SSH-2.0-x\r\n\r\n", errMalformed},
		{"a body left over", "ve!HTTP/1.1 200 OK\r\n\r\n", errMalformed},
		{"no status", "HTTP/1.1 OK\r\n\r\n", errMalformed},
		{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", errMalformed},
		{"another protocol from here", "HTTP/1.1 101 x\r\n\r\n", errMalformed},
		{"no end of interim answers", strings.Repeat("HTTP/1.1 100 x\r\n\r\n", 11), errMalformed},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", errMalformed},
		{"a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx", errMalformed},
		{"too long", "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", errMalformed},
		{"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errMalformed},
		{"zipped", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", errMalformed},
		{"folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", errMalformed},
		{"many headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n", errMalformed},
		{"a long header", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("b", bufferSize) + "\r\n\r\n", errMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := parse(test.text); !errors.Is(err, test.want) {
				t.Errorf("%+v, error %v; want error %v", got, err, test.want)
			}
		})
	}
}

// The parser returns what net/http returns, if net/http accepts the answer.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\n\nrest", "HTTP/1.0 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n",
		"HTTP/1.1 103 x\r\nLink: y\r\n\r\nHTTP/1.1 204 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 304 \r\nConnection: close\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parse(string(data))
		if err != nil {
			return
		}
		if got.status < 200 || got.status > 599 || len(got.body) > maxBody {
			t.Fatalf("status %d with %d bytes", got.status, len(got.body))
		}
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), &http.Request{Method: http.MethodPost})
		if err != nil || response.StatusCode < 200 {
			return
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return
		}
		if got.status != response.StatusCode || !bytes.Equal(got.body, body) {
			t.Fatalf("%d %q; net/http reads %d %q", got.status, got.body, response.StatusCode, body)
		}
	})
}

func TestOrderIDAndErrorCode(t *testing.T) {
	tests := []struct {
		body string
		id   int64
		code string
	}{
		{`{"data":{"id":42,"user_id":1}}`, 42, ""},
		{`{"data": {"user_id": 7, "id" :1, "id": 9007199254740991}}`, 9007199254740991, ""},
		{`{"data":{"idempotency_key":"\"id\":5","user_id":3,"id":6}}`, 6, ""},
		{`{"data":{"id":"42"}}`, 0, ""},
		{`{"data":{"id":12345678901234567}}`, 0, ""},
		{`{"data":{}}`, 0, ""},
		{``, 0, ""},
		{`{"error":"insufficient_stock","message":"x"}`, 0, "insufficient_stock"},
		{`{"error": "x"}`, 0, "x"},
		{`{"error":{"code":"x"}}`, 0, ""},
		{`{"error":"` + strings.Repeat("x", 65) + `"}`, 0, ""},
		{`{"error":"unfinished`, 0, ""},
	}
	for _, test := range tests {
		if id, code := orderID([]byte(test.body)), errorCode([]byte(test.body)); id != test.id || code != test.code {
			t.Errorf("%s: order %d, code %q; want %d, %q", test.body, id, code, test.id, test.code)
		}
	}
}
