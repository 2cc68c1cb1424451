package realtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/tracing"
)

// Bounds of the WebSocket server.
const (
	maxMessage   = 8 << 10         // bytes of a client's message
	readRoom     = 512             // bytes of a connection's buffer
	refuseWithin = time.Second     // for a client that is turned away to take its leave
	sweepEvery   = 5 * time.Second // between looks for silent connections
	drainWithin  = 5 * time.Second // for clients to take their leave when the server ends

	webSocketVersion = "13" // of RFC 6455

	gateRoom  = 200_000 // deliveries of events taken in that are not made yet
	gateLeast = 100     // what an event counts for at least: so few events wait that no tail of the bus overflows
)

// Options are what a Server works with. App, Bus, NewHTTP, Logger and Registerer must be set.
type Options struct {
	App   App
	Bus   bus.Bus
	Lasts ChannelCache // keeps cache channels for all nodes; nil for each by itself
	// MayConnect says whether a page of this origin may connect to this host; nil for any. Programs, which send no
	// origin, always may.
	MayConnect func(origin, host string) bool
	// Client is the address that a request came from, behind whatever proxies; nil for the connection's.
	Client func(*http.Request) netip.Addr
	// NewHTTP returns a server with the limits that every server of the product has.
	NewHTTP func(http.Handler) *http.Server

	MaxConnections int           // in all, and half of them from one address that is not this machine's; 0 for 10,000
	MaxChannels    int           // of a connection; 0 for 200
	MaxQueue       int           // bytes that wait for one client; 0 for 1 MiB
	Activity       time.Duration // silence after which a client is to ping, and is asked to; 0 for 2 minutes
	PongWithin     time.Duration // for the answer to that; 0 for 30 s, as the protocol recommends

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Tracer     tracing.Tracer // of nothing by default
}

// withDefaults returns the options with defaults where they say nothing.
func (o Options) withDefaults() Options {
	if o.MaxConnections == 0 {
		o.MaxConnections = 10_000
	}
	if o.MaxChannels == 0 {
		o.MaxChannels = 200
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 1 << 20
	}
	if o.Activity == 0 {
		o.Activity = 2 * time.Minute
	}
	if o.PongWithin == 0 {
		o.PongWithin = 30 * time.Second
	}
	if o.Client == nil {
		o.Client = remote
	}
	if o.MayConnect == nil {
		o.MayConnect = func(string, string) bool { return true }
	}
	return o
}

// Server is a node of the realtime service. Its methods may be called from any goroutine.
type Server struct {
	options  Options
	hub      *hub
	feed     *feed
	gate     *gate
	node     string // names this node on the bus
	upgrader websocket.Upgrader
}

// New returns a Server. It serves while Run runs.
func New(options Options) (*Server, error) {
	options = options.withDefaults()
	kept, err := newLasts(options.Lasts)
	if err != nil {
		return nil, err
	}
	h := &hub{
		options: options, lasts: kept, codes: newCodes(), refusals: newRefusals(), pong: message(eventPong, "", "{}"),
		channels: map[string]*channel{}, conns: map[*conn]struct{}{}, from: map[netip.Prefix]int{},
		feedBell: make(chan struct{}, 1),
	}
	h.metrics = newMetrics(options.Registerer, h.count)
	for i := range runtime.GOMAXPROCS(0) {
		h.flushers = append(h.flushers, newFlusher(i))
	}
	return &Server{
		options: options, hub: h, feed: newFeed(h), gate: newGate(gateRoom), node: rand.Text()[:12],
		upgrader: websocket.Upgrader{
			ReadBufferSize: readRoom, WriteBufferSize: readRoom, WriteBufferPool: &sync.Pool{}, HandshakeTimeout: refuseWithin,
			CheckOrigin: func(*http.Request) bool { return true }, // connect does, and can say why not
			Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
				answerError(w, status, "validation_error", "This address is for WebSockets: "+reason.Error()+".")
			},
		},
	}, nil
}

// Run serves connections of the listener until ctx ends, then asks all clients to come back later and closes. It returns
// nil when all went as it should.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var readers, flushers sync.WaitGroup
	for _, f := range s.hub.flushers {
		flushers.Go(func() { f.run(life) })
	}
	reading, stopReading := context.WithCancel(life)
	defer stopReading()
	readers.Go(func() { s.follow(reading, bus.TopicChanges, s.tellNews, s.hub.lasts.forget) })
	readers.Go(func() {
		s.follow(reading, bus.TopicChannelEvents, s.tellPushed, func() {
			s.gate.reset()
			s.hub.lasts.forget()
		})
	})
	readers.Go(func() {
		s.feed.run(reading, s.options.Bus, func(err error) { s.deaf(reading, bus.TopicJobs, err) })
	})
	readers.Go(func() { s.hub.lasts.run(reading, s.options.Logger) })
	readers.Go(func() { s.hub.sweep(reading) })

	server := s.options.NewHTTP(s.handler(life))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(sockets{listener}) }()
	var err error
	select {
	case <-ctx.Done():
		err = s.drain(life, server) // which ends Serve
		if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	case err = <-failed:
		err = fmt.Errorf("serve WebSockets: %w", err)
	}
	stopReading()
	readers.Wait()
	s.hub.cutAll()
	s.hub.goroutines.Wait()
	end()
	flushers.Wait()
	return err
}

// drain ends the server without losing what has been said: nobody new is let in, requests are answered, clients are asked
// to come back and get a moment to go.
func (s *Server) drain(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, drainWithin)
	defer cancel()
	s.hub.end(s.hub.codes.goingAway)
	err := server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were cut off: %w", err), server.Close())
	}
	gone := make(chan struct{})
	go func() { // ends with the readers, which cutAll ends
		s.hub.goroutines.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	}
	return err
}

// handler answers all paths.
func (s *Server) handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("GET /up", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, []byte(`{"health":"OK"}`+"\n")) })
	mux.HandleFunc("GET /app/{key}", func(w http.ResponseWriter, r *http.Request) { s.connect(ctx, w, r) })
	handle("POST /apps/{app}/events", s.publishOne)
	handle("POST /apps/{app}/batch_events", s.publishBatch)
	handle("GET /apps/{app}/channels", s.listChannels)
	handle("GET /apps/{app}/channels/{channel}", s.showChannel)
	handle("GET /apps/{app}/channels/{channel}/users", s.listUsers)
	for _, path := range []string{"/up", "/apps/{app}/channels", "/apps/{app}/channels/{channel}", "/apps/{app}/channels/{channel}/users"} {
		handle(path, wrongMethod(http.MethodGet))
	}
	handle("/app/{key}", wrongMethod(http.MethodGet))
	handle("/apps/{app}/events", wrongMethod(http.MethodPost))
	handle("/apps/{app}/batch_events", wrongMethod(http.MethodPost))
	handle("/", nothingHere)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !cleanPath(r.URL.Path) { // ServeMux would redirect it, and clients of WebSockets follow no redirects
			s.fail(w, r, nothingHere(w, r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// cleanPath reports whether a path has no empty, "." or ".." segments.
func cleanPath(name string) bool {
	dots := func(segment string) bool { return segment == "." || segment == ".." }
	return strings.HasPrefix(name, "/") && !strings.Contains(name, "//") && !slices.ContainsFunc(strings.Split(name, "/"), dots)
}

// connect takes a client in. Its reader leaves the handler, so that what the handler needed is given back.
func (s *Server) connect(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if refuseHandshake(w, r) {
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it is answered
	}
	sock, ok := ws.NetConn().(*socket)
	if !ok {
		_ = ws.Close() // its connection was closed as it came
		return
	}
	c := &conn{hub: s.hub, sock: sock, ws: ws, addr: s.options.Client(r)}
	c.id = strconv.FormatUint(uint64(mathrand.Uint32()), 10) + "." + strconv.FormatUint(uint64(mathrand.Uint32()), 10)
	c.heard.Store(time.Now().UnixNano())
	code := s.refusal(r)
	if code == nil && !s.hub.enter(c) {
		code = &s.hub.codes.overCapacity
	}
	if code != nil {
		s.turnAway(ws, sock, *code)
		return
	}
	ws.SetReadLimit(maxMessage)
	ws.SetPingHandler(func(text string) error { // by the reader, as all handlers
		if c.listen(time.Now()) {
			c.send(appendFrame(nil, opPong, []byte(text)))
		}
		return nil
	})
	ws.SetPongHandler(func(string) error {
		c.listen(time.Now())
		return nil
	})
	answerClose := ws.CloseHandler()
	ws.SetCloseHandler(func(code int, text string) error {
		if sock.input.halfClose {
			c.end(s.hub.codes.badClose)
			return nil
		}
		return answerClose(code, text)
	})
	sock.owner = c
	c.send(message(eventEstablished, "", `{"socket_id":"`+c.id+`","activity_timeout":`+strconv.Itoa(int(s.options.Activity.Seconds()))+`}`))
	go func() {
		defer s.hub.goroutines.Done()
		c.read(ctx)
	}()
}

// refuseHandshake answers a handshake that RFC 6455, section 4.2, refuses and the library does not, or not in this way. It
// returns false when there is nothing to refuse.
func refuseHandshake(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case !websocket.IsWebSocketUpgrade(r): // the library refuses that
		return false
	case !r.ProtoAtLeast(1, 1):
		answerError(w, http.StatusBadRequest, order.CodeValidation, "WebSockets need HTTP/1.1.")
	case r.Header.Get("Sec-WebSocket-Version") != webSocketVersion:
		h := w.Header()
		h.Set("Sec-WebSocket-Version", webSocketVersion)
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		answerError(w, http.StatusUpgradeRequired, order.CodeValidation, "This version of WebSockets is not supported: use 13.")
	default:
		return false
	}
	return true
}

// refusal is why a client is not let in, nil when it is.
func (s *Server) refusal(r *http.Request) *Code {
	codes := &s.hub.codes
	version := r.URL.Query().Get("protocol")
	number, err := strconv.Atoi(version)
	switch origin := r.Header.Get("Origin"); {
	case r.PathValue("key") != s.options.App.Key:
		return &codes.unknownApp
	case version == "":
		return &codes.noVersion
	case err != nil:
		return &codes.badVersion
	case number < 5 || number > 7: // 5 and 6 differ from 7 in nothing that this server does
		return &codes.wrongVersion
	case origin != "" && !s.options.MayConnect(origin, r.Host):
		return &codes.badOrigin
	}
	return nil
}

// turnAway tells a client why it is not let in, and gives it a moment to hear it.
func (s *Server) turnAway(ws *websocket.Conn, sock *socket, code Code) {
	s.hub.metrics.turnedAway.WithLabelValues(strconv.Itoa(code.Number)).Inc()
	defer func() { _ = ws.Close() }() // there is nobody to tell
	if sock.SetDeadline(time.Now().Add(refuseWithin)) != nil {
		return
	}
	if _, err := sock.Write(append(errorMessage(code, ""), closeFrame(code)...)); err != nil {
		return
	}
	sock.mute = true
	ws.SetReadLimit(maxMessage)
	for range 16 { // messages are ignored until the client answers the close
		if _, _, err := ws.NextReader(); err != nil {
			break
		}
	}
	if sock.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, sock, closeBytes) // until the client closes its side, so that it is not reset
	}
}

// remote is the address that a request came from.
func remote(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap().WithZone("")
}

// sweep asks clients that are silent whether they are there, and closes those that do not answer, until ctx ends.
func (h *hub) sweep(ctx context.Context) {
	ticker := time.NewTicker(min(sweepEvery, h.options.Activity))
	defer ticker.Stop()
	ping := message(eventPing, "", "{}")
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, c := range h.all() {
				c.look(now, ping)
			}
		}
	}
}

// look pings a silent client, and closes one that has not answered.
func (c *conn) look(now time.Time, ping []byte) {
	heard := c.heard.Load()
	switch silent := time.Duration(now.UnixNano() - heard); {
	case silent < c.hub.options.Activity:
	case c.pinged < heard:
		c.pinged = now.UnixNano()
		c.send(ping)
	case time.Duration(now.UnixNano()-c.pinged) > c.hub.options.PongWithin:
		c.end(c.hub.codes.noPong)
	}
}
