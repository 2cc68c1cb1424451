package app

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"orderflow/internal/config"
	"orderflow/internal/console"
	"orderflow/internal/payment"
	"orderflow/internal/web"
)

// buildConsole makes the console and mounts it in the API, whose parts it works with.
func (s *Server) buildConsole(log *slog.Logger) (err error) {
	s.console, err = console.New(console.Options{
		Door:   s.api,
		Feed:   console.Feed{Key: s.settings.RealtimeKey, URL: s.feedURL},
		Inside: s.api.InProcess,
		Shop:   s.db,
		Try:    s.try(),
		Local:  s.local(), FromHere: web.FromLoopback,
		MayTake:  web.ExtendDeadline,
		Secure:   func(r *http.Request) bool { return web.Secure(r, s.settings.TrustedProxies) },
		Status:   web.StatusOf,
		NoWorker: !s.settings.Roles.Worker, NoRealtime: !s.settings.Roles.Realtime,
		Metrics: s.registry, Asked: s.asked,
		Logger: log,
	})
	if err != nil {
		return err
	}
	s.api.Mount(console.Prefix, s.console)
	s.stage("console", s.console.Run)
	return nil
}

// mayTry reports whether things may be tried out here: nobody's money and nobody else's shop are at stake. The gateway is
// simulated by default, which says something about the shop only in a process that charges: others' workers may charge really.
func (s *Server) mayTry() bool {
	return s.settings.Roles.Worker && s.settings.Gateway == config.GatewaySimulated && s.settings.Addr.Loopback()
}

// try is the gateway that the page Try it works with; nil where there is no such page.
func (s *Server) try() console.Gateway {
	if !s.mayTry() {
		return nil
	}
	return gateway{s.faults, s.breaker}
}

// gateway is the simulated gateway of this process, for the console.
type gateway struct {
	faults  *payment.Faults
	breaker *payment.Breaker
}

// State implements console.Gateway: what the page breaks and mends is charges.
func (g gateway) State() string { return g.breaker.Charges().State() }

// Fault implements console.Gateway.
func (g gateway) Fault() (errors bool, delay time.Duration) {
	fault := g.faults.Fault()
	return fault.Errors, fault.Delay
}

// MaxDelay implements console.Gateway.
func (g gateway) MaxDelay() time.Duration { return payment.MaxDelay }

// SetFault implements console.Gateway.
func (g gateway) SetFault(errors bool, delay time.Duration) {
	g.faults.Set(payment.Fault{Errors: errors, Delay: delay})
}

// feedURL is where the browser that sent a request reaches the WebSocket server: at this host, on that server's port; or, through
// a proxy or where that server is another process, at the very address that the browser knows.
func (s *Server) feedURL(r *http.Request) string {
	scheme := "ws://"
	if web.Secure(r, s.settings.TrustedProxies) {
		scheme = "wss://"
	}
	if s.sockets == nil || web.Proxied(r, s.settings.TrustedProxies) {
		return scheme + r.Host
	}
	_, port, _ := net.SplitHostPort(s.sockets.Addr().String())
	return scheme + net.JoinHostPort(web.Hostname(r.Host), port)
}

// ConsoleURL is the address of the console; "" when this process has none.
func (s *Server) ConsoleURL() string {
	if s.console == nil || s.listener == nil {
		return ""
	}
	return s.URL() + console.Prefix + "/"
}
