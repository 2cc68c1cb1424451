package app

import (
	"context"
	"net"
	"net/http"
	"time"

	"orderflow/internal/config"
	"orderflow/internal/console"
	"orderflow/internal/payment"
	"orderflow/internal/web"
)

// addConsole adds the web console, with the role api, and mounts it in the API.
func (s *Server) addConsole(context.Context) (err error) {
	if !s.settings.Roles.API {
		return nil
	}
	s.console, err = console.New(console.Options{
		Authenticator: s.api, InProcess: s.api.InProcess, Store: s.db, Gateway: s.consoleGateway(),
		Feed:  console.Feed{Key: s.settings.RealtimeKey, URL: s.feedURL},
		Local: s.local(), TrustedProxies: s.settings.TrustedProxies,
		NoWorker: !s.settings.Roles.Worker, NoRealtime: !s.settings.Roles.Realtime,
		Metrics: s.registry, OnScrape: s.onScrape,
		Logger: s.log.Logger(),
	})
	if err != nil {
		return err
	}
	s.api.Mount(console.Prefix, s.console)
	s.addStage("console", s.console.Run)
	return nil
}

// hasDemo reports whether the console has the page Try it: only where no real payment can result. The process must listen on a
// loopback address, and must charge by itself with the simulated gateway: the workers of other processes could use a real one.
func (s *Server) hasDemo() bool {
	return s.settings.Roles.Worker && s.settings.Gateway == config.GatewaySimulated && s.settings.Addr.Loopback()
}

// consoleGateway returns the gateway of the page Try it, nil for no such page.
func (s *Server) consoleGateway() console.Gateway {
	if !s.hasDemo() {
		return nil
	}
	return gateway{s.faults, s.breaker}
}

// gateway is the simulated gateway of this process, for the console.
type gateway struct {
	faults  *payment.Faults
	breaker *payment.Breaker
}

// State implements console.Gateway with the breaker of charges.
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

// feedURL returns the address of the WebSocket server for the browser that sent a request: the request's host with that server's
// port. Behind a proxy, or when that server is another process, it is the request's own host and port.
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
