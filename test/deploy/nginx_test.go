package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"orderflow/test/env"
	"orderflow/test/servers"
)

// realtimeEnv is what processes of all roles are told so that what one signs holds for the others.
const realtimeEnv = "ORDERFLOW_REALTIME_SECRET=a-secret-of-this-test"

// nobody is an address at which no server listens.
const nobody = "127.0.0.1:1"

// packagedAPI is the line of the packaged upstreams file that names the API.
const packagedAPI = "\tserver app:8000 max_fails=2 fail_timeout=2s;\n"

// nginx starts nginx with the packaged configuration in front of servers, as the upstreams file lists them, and returns
// its address. changes are pairs of what is to be different in orderflow.conf.
func nginx(t *testing.T, api, realtime string, changes ...string) string {
	t.Helper()
	dir := env.Folder(t)
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var temporary strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "\t%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	write(t, dir, "upstreams.conf", changed(t, read(t, "deploy/nginx/upstreams.conf"),
		packagedAPI, api, "\tserver realtime:8080 max_fails=2 fail_timeout=2s;\n", realtime))
	write(t, dir, "orderflow.conf", changed(t, read(t, "deploy/nginx/orderflow.conf"), append(changes, "listen 80;", "listen "+addr+";")...))
	conf := write(t, dir, "nginx.conf", changed(t, read(t, "deploy/nginx/nginx.conf"),
		"pid /tmp/nginx.pid;", "pid "+dir+"/nginx.pid;", "/etc/nginx/orderflow", dir, "http {\n", "http {\n"+temporary.String(),
		"worker_processes auto;", "worker_processes 1;", "worker_rlimit_nofile 65536;", "", "worker_connections 16384;", "worker_connections 256;"))

	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx"
	}
	settings := environment(t)
	check := exec.CommandContext(t.Context(), path, "-t", "-e", "stderr", "-p", dir, "-c", conf)
	check.Env = settings
	if said, err := check.CombinedOutput(); err != nil || bytes.Contains(said, []byte("[warn]")) || bytes.Contains(said, []byte("[emerg]")) {
		t.Fatalf("nginx -t: %v: %s", err, said)
	}
	p := start(t, settings, path, "-e", "stderr", "-p", dir, "-c", conf, "-g", "daemon off;")
	t.Cleanup(func() { _ = p.Stop(syscall.SIGTERM) })
	env.EventuallyNil(t, "nginx listens", func() error {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return addr
}

// upstream is a line of an upstreams file.
func upstream(addr string, words ...string) string {
	return "\tserver " + strings.Join(append([]string{addr}, words...), " ") + ";\n"
}

// from is a client at an address of this machine.
func from(t *testing.T, address string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: env.Patience}
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	text   string
}

// ask sends a request.
func ask(t *testing.T, client *http.Client, method, address, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // it is read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(text)}
}

// placed sends an order, which has to be taken, and returns its id and the answer.
func placed(t *testing.T, client *http.Client, addr, key string) (int64, answer) {
	t.Helper()
	got := ask(t, client, http.MethodPost, "http://"+addr+"/api/v1/orders",
		fmt.Sprintf(`{"user_id":1,"idempotency_key":%q,"items":[{"product_id":2,"quantity":1}]}`, key))
	var order struct{ Data struct{ ID int64 } }
	if err := json.Unmarshal([]byte(got.text), &order); err != nil || order.Data.ID == 0 {
		t.Fatalf("order %s: %d: %s", key, got.status, got.text)
	}
	return order.Data.ID, got
}

// The whole product in processes of their own, by one address.
func TestThroughNginx(t *testing.T) {
	t.Parallel()
	redis, prefix := env.Redis(t)
	settings := environment(t, "DATABASE_URL="+env.MySQL(t), "REDIS_URL="+redis, "REDIS_PREFIX="+prefix, realtimeEnv,
		"ORDERFLOW_SIMULATED_SUCCESS=1")
	seed := exec.CommandContext(t.Context(), binary(t), "seed")
	seed.Env = settings
	if said, err := seed.CombinedOutput(); err != nil {
		t.Fatalf("seed: %v: %s", err, said)
	}
	api := serve(t, settings, "--roles", "api", "--rate-limit", "off")
	realtime := serve(t, settings, "--roles", "realtime")
	worker := serve(t, settings, "--roles", "worker")
	addr := nginx(t, upstream(api.addr), upstream(realtime.sockets))
	client := from(t, "127.0.0.1")

	signal(t, worker, syscall.SIGSTOP)
	socket := subscribed(t, client, addr)
	id, placing := placed(t, client, addr, "by-nginx")
	if placing.status != http.StatusCreated {
		t.Errorf("the order's answer is %d", placing.status)
	}
	// The worker stands still, so the stream cannot end: what comes now comes unbuffered.
	events := stream(t, client, addr, id)
	if event := events.next(t); event != "OrderCreated" {
		t.Errorf("the stream begins with %s", event)
	}
	signal(t, worker, syscall.SIGCONT)
	for _, want := range []string{"OrderProcessing", "OrderPaid"} {
		if event := events.next(t); event != want {
			t.Errorf("the stream says %s, want %s", event, want)
		}
	}
	if told := socket.next(t, "OrderPaid"); !strings.Contains(told, fmt.Sprintf(`"order_id":%d`, id)) {
		t.Errorf("the WebSocket says %s", told)
	}
	if got := ask(t, client, http.MethodGet, fmt.Sprintf("http://%s/api/orders/%d", addr, id), ""); !strings.Contains(got.text, `"status":"PAID"`) {
		t.Errorf("in the end the order is %s", got.text)
	}
	// The signed API is there, and wants a signature.
	if got := ask(t, client, http.MethodPost, "http://"+addr+"/apps/orderflow/events", "{}"); got.status != http.StatusUnauthorized {
		t.Errorf("the signed API answers %d: %s", got.status, got.text)
	}
	secureOnce(t, client, addr, api.Stop)
}

// secureOnce looks for each security header on answers of every origin. last ends the API.
func secureOnce(t *testing.T, client *http.Client, addr string, stop func(syscall.Signal) error) {
	t.Helper()
	type request struct {
		method, path, body string
		status             int
	}
	look := func(r request) {
		t.Helper()
		got := ask(t, client, r.method, "http://"+addr+r.path, r.body)
		var shape struct {
			Error, Message string
			Trace          string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(got.text), &shape); r.status >= 400 && (err != nil || shape.Error == "" || shape.Message == "" ||
			shape.Trace != got.header.Get("X-Trace-Id")) {
			t.Errorf("%s %s: %s is not what errors look like", r.method, r.path, got.text)
		}
		if got.status != r.status {
			t.Errorf("%s %s: %d, want %d: %s", r.method, r.path, got.status, r.status, got.text)
		}
		for _, name := range []string{
			"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Content-Security-Policy", "X-Xss-Protection", "X-Trace-Id",
		} {
			if values := got.header[name]; len(values) != 1 || values[0] == "" {
				t.Errorf("%s %s: %s is %q", r.method, r.path, name, values)
			}
		}
	}
	for _, r := range []request{
		{http.MethodGet, "/api/v1/products", "", http.StatusOK},
		{http.MethodGet, "/docs", "", http.StatusOK},
		{http.MethodGet, "/readyz", "", http.StatusOK},
		{http.MethodGet, "/nowhere", "", http.StatusNotFound},
		{http.MethodGet, "/metrics", "", http.StatusNotFound},                                          // nginx's
		{http.MethodPost, "/api/orders", strings.Repeat("x", 3<<20), http.StatusRequestEntityTooLarge}, // nginx's
		{http.MethodGet, "/app/orderflow-key", "", http.StatusBadRequest},
		{http.MethodGet, "/apps/orderflow/channels", "", http.StatusUnauthorized},
	} {
		look(r)
	}
	if err := stop(syscall.SIGTERM); err != nil {
		t.Errorf("the API ended with %v", err)
	}
	look(request{http.MethodGet, "/api/v1/products", "", http.StatusServiceUnavailable}) // nginx's
}

// socket is a WebSocket connection whose messages can be waited for.
type socket struct {
	conn *websocket.Conn
}

// subscribed connects and subscribes to the orders of user 1, all of it by nginx.
func subscribed(t *testing.T, client *http.Client, addr string) socket {
	t.Helper()
	conn, response, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr+"/app/orderflow-key?protocol=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close() // empty
	t.Cleanup(func() { _ = conn.Close() })
	s := socket{conn}
	var established struct {
		SocketID string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(s.next(t, "pusher:connection_established")), &established); err != nil {
		t.Fatal(err)
	}
	const channel = "private-orders.1"
	got := ask(t, client, http.MethodPost, "http://"+addr+"/broadcasting/auth",
		fmt.Sprintf(`{"socket_id":%q,"channel_name":%q}`, established.SocketID, channel))
	var signed struct{ Auth string }
	if err := json.Unmarshal([]byte(got.text), &signed); err != nil || signed.Auth == "" {
		t.Fatalf("nothing is signed: %s", got.text)
	}
	if err := conn.WriteJSON(map[string]any{
		"event": "pusher:subscribe", "data": map[string]string{"channel": channel, "auth": signed.Auth},
	}); err != nil {
		t.Fatal(err)
	}
	s.next(t, "pusher_internal:subscription_succeeded")
	return s
}

// next returns the data of the next message, which has to be of this event.
func (s socket) next(t *testing.T, event string) string {
	t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(env.Patience)); err != nil {
		t.Fatal(err)
	}
	var message struct{ Event, Data string }
	if err := s.conn.ReadJSON(&message); err != nil || message.Event != event {
		t.Fatalf("the WebSocket says %+v (%v), want %s", message, err, event)
	}
	return message.Data
}

// events is an open event stream.
type events struct{ lines *bufio.Scanner }

func stream(t *testing.T, client *http.Client, addr string, id int64) events {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/api/v1/orders/%d/events", addr, id), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("the stream is of type %q", kind)
	}
	return events{bufio.NewScanner(response.Body)}
}

// next returns the name of the next event.
func (e events) next(t *testing.T) string {
	t.Helper()
	for e.lines.Scan() {
		if event, found := strings.CutPrefix(e.lines.Text(), "event: "); found {
			return event
		}
	}
	t.Fatalf("the stream ended: %v", e.lines.Err())
	return ""
}

// embedded starts a whole server on a database of its own with the sample data.
func embedded(t *testing.T, args ...string) *server {
	t.Helper()
	settings := environment(t, "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "orderflow.db"), "ORDERFLOW_SIMULATED_SUCCESS=1", "ORDERFLOW_SAMPLES=true")
	return serve(t, settings, args...)
}

// Behind nginx each client has a rate limit of its own, and cannot say that it is somebody else.
func TestClientAddressBehindNginx(t *testing.T) {
	t.Parallel()
	api := embedded(t, "--rate-limit", "2/m", "--trusted-proxies", "127.0.0.1/32")
	addr := nginx(t, upstream(api.addr), upstream(nobody))
	left := func(client *http.Client, headers ...string) string {
		t.Helper()
		got := ask(t, client, http.MethodGet, "http://"+addr+"/api/v1/products", "", headers...)
		return got.header.Get("X-Ratelimit-Remaining") + " left, " + strconv.Itoa(got.status)
	}
	first, second := from(t, "127.0.0.2"), from(t, "127.0.0.3")
	got := []string{
		left(first), left(second), left(first, "X-Forwarded-For", "192.0.2.1"), left(first, "X-Forwarded-For", "192.0.2.2"), left(second),
	}
	if want := []string{"1 left, 200", "1 left, 200", "0 left, 200", "0 left, 429", "0 left, 200"}; !slices.Equal(got, want) {
		t.Errorf("the clients have %q, want %q", got, want)
	}
}

// A server that takes an order and dies before it answers: nginx asks the other one, which knows the order.
func TestNginxRepeatsAnOrderOnce(t *testing.T) {
	t.Parallel()
	api := embedded(t, "--rate-limit", "off")
	dying, arrived := cutAnswers(t, api.addr)
	addr := nginx(t, upstream(dying)+upstream(api.addr, "backup"), upstream(dying))
	client := from(t, "127.0.0.1")

	id, placing := placed(t, client, addr, "twice")
	if placing.status != http.StatusOK || placing.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the answer is %+v, want that of an order that is there already", placing)
	}
	if request := <-arrived; !strings.HasPrefix(request, "POST /api/v1/orders ") {
		t.Errorf("the server that died was asked %q", request)
	}
	if got := ask(t, client, http.MethodGet, "http://"+api.addr+"/api/v1/orders?user_id=1", ""); !strings.Contains(got.text, `"total":1,`) ||
		!strings.Contains(got.text, fmt.Sprintf(`"id":%d,`, id)) {
		t.Errorf("the user's orders are %s, want order %d alone", got.text, id)
	}
	// What is published twice would be heard twice.
	if got := ask(t, client, http.MethodPost, "http://"+addr+"/apps/orderflow/events", "{}"); got.status != http.StatusServiceUnavailable {
		t.Errorf("the signed API answers %d, want 503 after one try", got.status)
	}
	if request := <-arrived; len(arrived) > 0 || !strings.HasPrefix(request, "POST /apps/") {
		t.Errorf("the server that died was asked %q, and %d times more", request, len(arrived))
	}
}

// What the console may do for long has longer than other answers, and all else that they have.
func TestNginxWaitsForTheConsole(t *testing.T) {
	t.Parallel()
	asked, release := make(chan *http.Request, 16), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(slow.Close)
	server := strings.TrimPrefix(slow.URL, "http://")
	addr := nginx(t, upstream(server), upstream(server), "proxy_read_timeout 35s;", "proxy_read_timeout 300ms;")
	client := from(t, "127.0.0.1")
	paths := []string{"/console/audit", "/console/failed-jobs", "/console/try/race"}
	answers := make([]answer, len(paths))
	var waiting sync.WaitGroup
	for i, path := range paths {
		waiting.Go(func() { answers[i] = ask(t, client, http.MethodPost, "http://"+addr+path, "") })
	}
	for range paths {
		r := <-asked
		if r.Host != addr || len(r.Header["X-Forwarded-For"]) != 1 || len(r.Header["X-Forwarded-Proto"]) != 1 || r.ProtoMajor*10+r.ProtoMinor != 11 {
			t.Errorf("%s is asked of the server with Host %q and %v", r.URL, r.Host, r.Header)
		}
	}
	for _, path := range []string{"/console/orders", "/console/auditor"} { // by then, the others have waited for longer as well
		if got := ask(t, client, http.MethodPost, "http://"+addr+path, ""); got.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, want 503", path, got.status)
		}
	}
	close(release)
	waiting.Wait()
	for _, got := range answers {
		if got.status != http.StatusOK || len(got.header["X-Content-Type-Options"]) != 1 || len(got.header["X-Frame-Options"]) != 1 {
			t.Errorf("%d, %v", got.status, got.header)
		}
	}
}

// cutAnswers is a server that hands each request on to another one and hangs up when that has answered. It tells the
// first line of each request.
func cutAnswers(t *testing.T, target string) (addr string, requests <-chan string) {
	t.Helper()
	lines, onward := make(chan string, 16), &http.Transport{DisableKeepAlives: true}
	front := &http.Server{ReadHeaderTimeout: env.Patience, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		lines <- r.Method + " " + r.URL.Path + " "
		r.URL = &url.URL{Scheme: "http", Host: target, Path: r.URL.Path}
		r.RequestURI = ""
		if response, err := onward.RoundTrip(r); err == nil {
			_ = response.Body.Close() // nobody is to see it
		}
		panic(http.ErrAbortHandler)
	})}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- front.Serve(listener) }()
	t.Cleanup(func() {
		_ = front.Close() // no request is under way any more
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener.Addr().String(), lines
}

// The script that has nginx look names up again is one that shells take.
func TestFollowScript(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"deploy/nginx/follow.sh", "scripts/setup.sh"} {
		info, err := os.Stat(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run: nginx's container skips it", name)
		}
		if said, err := exec.CommandContext(t.Context(), "sh", "-n", filepath.Join(repository, name)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, said)
		}
	}
}
