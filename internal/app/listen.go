package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/config"
	"orderflow/internal/console"
	"orderflow/internal/order"
	"orderflow/internal/web"
)

const (
	connectionsMax      = 100_000 // even if there are more file descriptors
	reservedDescriptors = 64      // for the database, the logs and the rest of the process
)

// listen opens the listeners of the roles.
func (s *Server) listen(ctx context.Context) error {
	if s.settings.Roles.Realtime {
		sockets, err := s.openListener(ctx, "for WebSockets ", "--realtime-addr", s.settings.RealtimeAddr, s.connections()+refusedMax)
		if err != nil {
			return err
		}
		s.sockets = sockets
	}
	s.http = web.NewServer(s.api.Handler(), s.limits())
	s.http.ErrorLog = slog.NewLogLogger(s.log.Logger().Handler(), slog.LevelDebug)
	if s.settings.Addr == config.AddrOff {
		return nil
	}
	listener, err := s.openListener(ctx, "", "--addr", s.settings.Addr, s.connections())
	if err != nil {
		return err
	}
	s.listener = listener
	_, s.origins.APIPort, _ = net.SplitHostPort(listener.Addr().String()) // the address of a listener is well-formed
	s.conns = web.CountConnections(s.http)
	s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_http_connections", Help: "Open connections of clients, without WebSockets.",
	}, func() float64 { return float64(s.conns.Count()) }))
	return nil
}

// openListener listens on the address of a flag, with a limit of connections.
func (s *Server) openListener(ctx context.Context, purpose, flag string, addr config.Addr, limit int) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(addr))
	if err != nil {
		return nil, listenError(purpose, flag, string(addr), err)
	}
	return web.LimitListener(listener.(*net.TCPListener), limit, s.settings.TrustedProxies), nil //nolint:forcetypeassert // of "tcp"
}

// limits returns the limits of the HTTP servers.
func (s *Server) limits() web.Limits { return web.Limits{Idle: s.settings.IdleTimeout} }

// connections returns the limit of connections of each listener.
func (s *Server) connections() int {
	all := maxConnections(s.settings.WorkerConcurrency)
	if s.settings.Roles.Realtime && s.settings.Addr != config.AddrOff {
		return max(1, all/2)
	}
	return all
}

// maxConnections returns the limit of client connections: the file descriptors that remain when every charge has one. Without this limit
// idle clients could keep the charges from reaching the gateway.
func maxConnections(charges int) int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 2*connectionsMax {
		return connectionsMax
	}
	return max(1, min(connectionsMax, int(limit.Cur)-charges-reservedDescriptors))
}

// listenError returns an error with the reason why the server cannot listen on the address of a flag, and with the remedy.
func listenError(purpose, flag, addr string, err error) error {
	cause := strings.TrimPrefix(err.Error(), "listen tcp "+addr+": ")
	remedy := "Stop what uses it, or choose another " + flag + "."
	if _, unknown := errors.AsType[*net.DNSError](err); unknown || errors.Is(err, syscall.EADDRNOTAVAIL) {
		remedy = "This machine has no such address; choose another " + flag + "."
	}
	if errors.Is(err, syscall.EACCES) {
		remedy = "Ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, or choose another " + flag + "."
	}
	return order.Errorf(order.CodeUnavailable, "Cannot listen %son %s: %s. %s", purpose, addr, cause, remedy)
}

// URL returns the address of the HTTP server, or "" with --addr off.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// ConsoleURL returns the address of the console, or "" when this process has none.
func (s *Server) ConsoleURL() string {
	if s.console == nil || s.listener == nil {
		return ""
	}
	return s.URL() + console.Prefix + "/"
}

// RealtimeURL returns the address of the WebSocket server, or "" without the role realtime.
func (s *Server) RealtimeURL() string {
	if s.sockets == nil {
		return ""
	}
	return "ws://" + s.sockets.Addr().String()
}
