package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ordersPath is the path that creates orders.
const ordersPath = "/api/v1/orders"

// client sends one request at a time. It is for one goroutine.
type client interface {
	connect(ctx context.Context) error
	// send returns the answer, which is valid until the next send. After an error the next send opens a new connection.
	send(ctx context.Context, r *request) (answer, error)
	close()
	server() string // address, for errors
}

// target is a server under load.
type target struct {
	base    *url.URL
	raw     bool // plain http without a proxy: uses rawClient
	timeout time.Duration
}

// newTarget checks a server's address. https, and http through a proxy of the environment, use net/http; the rest uses rawClient, which
// costs half the processor time.
func newTarget(address string, timeout time.Duration) (target, error) {
	base, err := url.Parse(address)
	if err != nil {
		return target{}, fmt.Errorf("the server's address: %w", err)
	}
	if (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
		return target{}, fmt.Errorf("the server's address %q is invalid; it must look like http://127.0.0.1:8000", address)
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: base})
	if err != nil {
		return target{}, fmt.Errorf("the proxy in the environment: %w", err)
	}
	return target{base: base, raw: base.Scheme == "http" && proxy == nil, timeout: timeout}, nil
}

// client returns a new client, whose requests fail after the deadline.
func (t target) client(deadline time.Time) client {
	if t.raw {
		return &rawClient{base: t.base.String(), host: t.hostPort(), deadline: deadline}
	}
	return &stdClient{
		base: t.base.String(), url: t.base.Scheme + "://" + t.base.Host + t.path(), deadline: deadline,
		http: &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, TLSHandshakeTimeout: t.timeout,
		}},
	}
}

// path is the path that creates orders, below the path of the server's address.
func (t target) path() string { return strings.TrimSuffix(t.base.EscapedPath(), "/") + ordersPath }

func (t target) hostPort() string {
	if t.base.Port() == "" {
		return net.JoinHostPort(t.base.Hostname(), "80")
	}
	return t.base.Host
}

// request is a client's request for one unit of each of some products. It is built once and then patched in place. JSON allows spaces
// before a number, so every field keeps its width and Content-Length never changes.
type request struct {
	bytes     []byte
	body      int   // where the body begins
	key, user int   // where the sequence in the key and the user id begin
	products  []int // where the product ids begin
	sequence  uint32
}

// Widths of the patched fields: 8 hexadecimal digits, and the digits of 2^53.
const (
	sequenceWidth = 8
	numberWidth   = 16
)

// newRun returns a random prefix for the idempotency keys of one load.
func newRun() string { return strings.ToLower(rand.Text()[:12]) }

func (t target) newRequest(run string, client, lines int) *request {
	blank := strings.Repeat(" ", numberWidth)
	const product = `{"product_id":`
	body := `{"user_id":` + blank + `,"idempotency_key":"bench-` + run + fmt.Sprintf("-%05x-", client) +
		strings.Repeat("0", sequenceWidth) + `","items":[` + strings.Repeat(product+blank+`,"quantity":1},`, lines)
	body = strings.TrimSuffix(body, ",") + `]}`
	head := "POST " + t.path() + " HTTP/1.1\r\nHost: " + t.base.Host +
		"\r\nUser-Agent: orderflow-bench\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n"
	after := func(mark string) int { return len(head) + strings.Index(body, mark) + len(mark) }
	r := &request{bytes: []byte(head + body), body: len(head), user: after(`"user_id":`), key: after(fmt.Sprintf("-%05x-", client))}
	for at := after(product); len(r.products) < lines; at += len(product) + numberWidth + len(`,"quantity":1},`) {
		r.products = append(r.products, at)
	}
	return r
}

// next sets a new key, the user and the products.
func (r *request) next(user int64, products []int64) {
	r.sequence++
	const digits = "0123456789abcdef"
	for i, n := sequenceWidth-1, r.sequence; i >= 0; i, n = i-1, n>>4 {
		r.bytes[r.key+i] = digits[n&15]
	}
	patch(r.bytes[r.user:r.user+numberWidth], user)
	for i, at := range r.products {
		patch(r.bytes[at:at+numberWidth], products[i])
	}
}

// patch writes a positive n flush right into a field.
func patch(field []byte, n int64) {
	for i := len(field) - 1; i >= 0; i-- {
		if n == 0 {
			field[i] = ' '
			continue
		}
		field[i] = byte('0' + n%10)
		n /= 10
	}
}

// rawClient speaks HTTP/1.1 over one keep-alive connection.
type rawClient struct {
	base     string
	host     string
	deadline time.Time

	conn    net.Conn
	in      *bufio.Reader
	buffer  []byte
	release func() bool // detaches the connection from its context
}

func (c *rawClient) connect(ctx context.Context) error {
	dialer := net.Dialer{Deadline: c.deadline}
	conn, err := dialer.DialContext(ctx, "tcp", c.host)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(c.deadline); err != nil {
		return errors.Join(err, conn.Close())
	}
	c.conn = conn
	// One call per connection instead of one per request: when the context ends, pending reads and writes fail.
	c.release = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if c.in == nil {
		c.in = bufio.NewReaderSize(conn, bufferSize)
	} else {
		c.in.Reset(conn)
	}
	return nil
}

func (c *rawClient) send(ctx context.Context, r *request) (answer, error) {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return answer{}, err
		}
	}
	if _, err := c.conn.Write(r.bytes); err != nil {
		c.close()
		return answer{}, err
	}
	a, err := readAnswer(c.in, c.buffer)
	if err == nil && c.in.Buffered() > 0 {
		err = fmt.Errorf("%w: more bytes than Content-Length", errMalformed)
	}
	if cap(a.body) > cap(c.buffer) {
		c.buffer = a.body[:0]
	}
	if err != nil || a.last {
		c.close()
	}
	return a, err
}

func (c *rawClient) server() string { return c.base }

func (c *rawClient) close() {
	if c.conn == nil {
		return
	}
	c.release()
	_ = c.conn.Close() // no request is pending
	c.conn = nil
}

// stdClient uses net/http, for https and proxies.
type stdClient struct {
	base     string
	url      string
	deadline time.Time
	http     *http.Client
}

// connect does nothing: net/http connects with the first request.
func (c *stdClient) connect(context.Context) error { return nil }

func (c *stdClient) send(ctx context.Context, r *request) (answer, error) {
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(r.bytes[r.body:]))
	if err != nil {
		return answer{}, err
	}
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("User-Agent", "orderflow-bench")
	response, err := c.http.Do(post)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("read the body: %w", err)
	case len(body) > maxBody:
		return answer{}, fmt.Errorf("%w: a body over %d bytes", errMalformed, maxBody)
	}
	return answer{status: response.StatusCode, body: body, retryAfter: response.Header.Get("Retry-After")}, nil
}

func (c *stdClient) server() string { return c.base }

func (c *stdClient) close() { c.http.CloseIdleConnections() }
