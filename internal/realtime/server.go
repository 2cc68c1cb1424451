package realtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/tracing"
	"orderflow/internal/web"
)

// Limits of the WebSocket server.
const (
	maxMessage    = 8 << 10         // bytes of a client's message
	readSize      = 512             // bytes of a connection's buffers
	refuseTimeout = time.Second     // for a refused client to close its side
	sweepInterval = 5 * time.Second // between two checks for silent clients
	drainTimeout  = 5 * time.Second // for clients to close their side at shutdown

	webSocketVersion = "13" // of RFC 6455
)

// Options configure a Server. App, Bus, Logger and Registerer are required.
type Options struct {
	App   pusher.App
	Bus   bus.Bus
	Cache ChannelCache // shared by all nodes; nil: each node keeps its own last events

	Origins        *web.Origins   // whose pages may connect; nil: pages of this host and of loopback addresses
	TrustedProxies []netip.Prefix // their X-Forwarded-For has the client's address
	Limits         web.Limits     // of HTTP requests

	MaxConnections  int           // in total, and half of them from one remote address; 0 for 10,000
	MaxChannels     int           // of a connection; 0 for 200
	MaxQueue        int           // bytes that wait for one client; 0 for 1 MiB
	ActivityTimeout time.Duration // the silence after which the client pings, and is pinged; 0 for 2 minutes
	PongTimeout     time.Duration // for the answer to a ping; 0 for 30 s, as the protocol recommends

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Tracer     tracing.Tracer // the zero value traces nothing
}

// withDefaults returns the options with their defaults.
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
	if o.ActivityTimeout == 0 {
		o.ActivityTimeout = 2 * time.Minute
	}
	if o.PongTimeout == 0 {
		o.PongTimeout = 30 * time.Second
	}
	if o.Origins == nil {
		o.Origins = web.NewOrigins(nil)
	}
	return o
}

// Server is a node of the realtime service. Its methods may be called from any goroutine.
type Server struct {
	options  Options
	hub      *hub
	feed     *feed
	gate     *gate
	node     string // this node's name on the bus
	upgrader websocket.Upgrader
}

// New returns a Server. It serves while Run runs.
func New(options Options) (*Server, error) {
	options = options.withDefaults()
	last, err := newLastEvents(options.Cache)
	if err != nil {
		return nil, err
	}
	h := &hub{
		options: options, lastEvents: last, codes: pusher.AllCodes(), refusals: newRefusals(), pong: message(eventPong, "", "{}"),
		channels: map[string]*channel{}, conns: map[*conn]struct{}{}, clients: map[netip.Prefix]int{},
		feedWake: make(chan struct{}, 1),
	}
	h.metrics = newMetrics(options.Registerer, h.count)
	for i := range runtime.GOMAXPROCS(0) {
		h.flushers = append(h.flushers, newFlusher(i))
	}
	return &Server{
		options: options, hub: h, feed: newFeed(h), gate: newGate(gateLimit), node: rand.Text()[:12],
		upgrader: websocket.Upgrader{
			ReadBufferSize: readSize, WriteBufferSize: readSize, WriteBufferPool: &sync.Pool{}, HandshakeTimeout: refuseTimeout,
			CheckOrigin: func(*http.Request) bool { return true }, // connect checks it, and sends the reason
			Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
				writeError(w, web.TraceID(r), status, order.Invalid("handshake", "is not a WebSocket handshake: "+reason.Error()))
			},
		},
	}, nil
}

// Run serves connections of the listener until ctx ends, then closes all connections with a code that makes clients reconnect. It
// returns nil after an orderly end.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var readers, flushers sync.WaitGroup
	for _, f := range s.hub.flushers {
		flushers.Go(func() { f.run(life) })
	}
	reading, stopReading := context.WithCancel(life)
	defer stopReading()
	readers.Go(func() { s.subscribe(reading, bus.TopicChanges, s.sendChanges, s.hub.lastEvents.clear) })
	readers.Go(func() {
		s.subscribe(reading, bus.TopicChannelEvents, s.sendChannelEvents, func() {
			s.gate.reset()
			s.hub.lastEvents.clear()
		})
	})
	readers.Go(func() {
		s.feed.run(reading, s.options.Bus, func(err error) { s.logDisconnected(reading, bus.TopicJobs, err) })
	})
	readers.Go(func() { s.hub.lastEvents.run(reading, s.options.Logger) })
	readers.Go(func() { s.hub.pingSilent(reading) })

	server := web.NewServer(s.handler(life), s.options.Limits)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(socketListener{listener}) }()
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
	s.hub.abortAll()
	s.hub.goroutines.Wait()
	end()
	flushers.Wait()
	return err
}

// drain ends the server in order: it refuses new connections, answers open requests, and gives clients drainTimeout to read their
// queues and close.
func (s *Server) drain(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	s.hub.closeAll(s.hub.codes.ShuttingDown)
	err := server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were interrupted: %w", err), server.Close())
	}
	ended := make(chan struct{})
	go func() { // ends with the readers, at the latest after abortAll
		s.hub.goroutines.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return err
}

// handler returns the handler of all paths.
func (s *Server) handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, do func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := do(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("GET /up", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, []byte(`{"health":"OK"}`+"\n"))
	})
	mux.HandleFunc("GET /app/{key}", func(w http.ResponseWriter, r *http.Request) { s.connect(ctx, w, r) })
	handle("POST /apps/{app}/events", s.publishOne)
	handle("POST /apps/{app}/batch_events", s.publishBatch)
	handle("GET /apps/{app}/channels", s.listChannels)
	handle("GET /apps/{app}/channels/{channel}", s.showChannel)
	handle("GET /apps/{app}/channels/{channel}/users", s.listUsers)
	for _, path := range []string{"/up", "/apps/{app}/channels", "/apps/{app}/channels/{channel}", "/apps/{app}/channels/{channel}/users"} {
		handle(path, methodNotAllowed(http.MethodGet))
	}
	handle("/app/{key}", methodNotAllowed(http.MethodGet))
	handle("/apps/{app}/events", methodNotAllowed(http.MethodPost))
	handle("/apps/{app}/batch_events", methodNotAllowed(http.MethodPost))
	handle("/", notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !web.CleanPath(r.URL.Path) { // ServeMux would redirect, and WebSocket clients do not follow redirects
			s.fail(w, r, notFound(w, r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// connect accepts a WebSocket. Its reader runs outside the handler, so that the memory of the handler is freed.
func (s *Server) connect(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	if refuseHandshake(w, r) {
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has responded
	}
	sock, ok := ws.NetConn().(*socket)
	if !ok {
		_ = ws.Close() // the connection was closed during Accept
		return
	}
	c := &conn{hub: s.hub, sock: sock, ws: ws, addr: web.ClientAddr(r, s.options.TrustedProxies)}
	c.id = pusher.NewSocketID()
	c.received.Store(time.Now().UnixNano())
	code := s.checkHandshake(r)
	if code == nil && !s.hub.add(c) {
		code = &s.hub.codes.OverCapacity
	}
	if code != nil {
		s.refuse(ws, sock, *code)
		return
	}
	ws.SetReadLimit(maxMessage)
	ws.SetPingHandler(func(text string) error { // called by the reader, as all handlers
		if c.accept(time.Now()) {
			c.send(appendFrame(nil, opPong, []byte(text)))
		}
		return nil
	})
	ws.SetPongHandler(func(string) error {
		c.accept(time.Now())
		return nil
	})
	answerClose := ws.CloseHandler()
	ws.SetCloseHandler(func(code int, text string) error {
		if sock.input.halfClose {
			c.closeWith(s.hub.codes.InvalidClose)
			return nil
		}
		return answerClose(code, text)
	})
	sock.owner = c
	c.send(established(c.id, s.options.ActivityTimeout))
	go func() {
		defer s.hub.goroutines.Done()
		c.read(ctx)
	}()
}

// refuseHandshake responds to a handshake that RFC 6455, section 4.2, refuses but the library accepts or refuses in another way. It
// returns false when the handshake is valid.
func refuseHandshake(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case !websocket.IsWebSocketUpgrade(r): // the library refuses it
		return false
	case !r.ProtoAtLeast(1, 1):
		writeError(w, web.TraceID(r), http.StatusBadRequest, order.Invalid("protocol", "must be HTTP/1.1"))
	case r.Header.Get("Sec-WebSocket-Version") != webSocketVersion:
		h := w.Header()
		h.Set("Sec-WebSocket-Version", webSocketVersion)
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		writeError(w, web.TraceID(r), http.StatusUpgradeRequired, order.Invalid("Sec-WebSocket-Version", "must be 13"))
	default:
		return false
	}
	return true
}

// checkHandshake returns the code with which a client is refused, nil when it is accepted.
func (s *Server) checkHandshake(r *http.Request) *pusher.Code {
	codes := &s.hub.codes
	version := r.URL.Query().Get("protocol")
	number, err := strconv.Atoi(version)
	switch origin := web.Origin(r); {
	case r.PathValue("key") != s.options.App.Key:
		return &codes.UnknownApp
	case version == "":
		return &codes.NoVersion
	case err != nil:
		return &codes.InvalidVersion
	case number < 5 || number > 7: // 5 and 6 are the same as 7 in all that this server supports
		return &codes.UnsupportedVersion
	case origin != "" && !s.options.Origins.Permit(origin, r.Host):
		return &codes.OriginNotAllowed
	}
	return nil
}

// refuse sends a client the code, and gives it refuseTimeout to read it and close its side.
func (s *Server) refuse(ws *websocket.Conn, sock *socket, code pusher.Code) {
	s.hub.metrics.turnedAway.WithLabelValues(strconv.Itoa(code.Number)).Inc()
	defer func() { _ = ws.Close() }() // the connection ends either way
	if sock.SetDeadline(time.Now().Add(refuseTimeout)) != nil {
		return
	}
	if _, err := sock.Write(append(errorMessage(code, ""), closeFrame(code)...)); err != nil {
		return
	}
	sock.mute = true
	ws.SetReadLimit(maxMessage)
	for range 16 { // ignore messages until the client answers the close
		if _, _, err := ws.NextReader(); err != nil {
			break
		}
	}
	if sock.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, sock, maxDiscard) // until the client closes its side, to avoid a reset
	}
}

// pingSilent pings silent clients, and closes those that do not answer, until ctx ends.
func (h *hub) pingSilent(ctx context.Context) {
	ticker := time.NewTicker(min(sweepInterval, h.options.ActivityTimeout))
	defer ticker.Stop()
	ping := message(eventPing, "", "{}")
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, c := range h.all() {
				c.checkSilence(now, ping)
			}
		}
	}
}

// checkSilence pings a silent client, and closes one that has not answered.
func (c *conn) checkSilence(now time.Time, ping []byte) {
	received := c.received.Load()
	switch silent := time.Duration(now.UnixNano() - received); {
	case silent < c.hub.options.ActivityTimeout:
	case c.pinged < received:
		c.pinged = now.UnixNano()
		c.send(ping)
	case time.Duration(now.UnixNano()-c.pinged) > c.hub.options.PongTimeout:
		c.closeWith(c.hub.codes.NoPong)
	}
}
