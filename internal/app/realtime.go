package app

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"

	"orderflow/internal/config"
	"orderflow/internal/pusher"
	"orderflow/internal/realtime"
	"orderflow/internal/web"
)

// turnedAway is how many clients beyond those let in may be told at a time that there is no room.
const turnedAway = 64

// buildRealtime builds the realtime server, when the process has the role, and returns its application, which signs channels when
// the process has a secret. Its stage starts before the stages that publish and so ends after them: subscribers still receive the
// events of the last batch.
func (s *Server) buildRealtime(log *slog.Logger) (app pusher.App, err error) {
	s.origins = web.NewOrigins(s.settings.AllowedOrigins)
	app = pusher.App{ID: s.settings.RealtimeAppID, Key: s.settings.RealtimeKey, Secret: s.settings.RealtimeSecret.Reveal()}
	if !s.settings.Roles.Realtime {
		return app, nil
	}
	if app.Secret == "" {
		app.Secret = rand.Text()
	}
	server, err := realtime.New(realtime.Options{
		App: app, Bus: s.ports.bus, Cache: s.ports.lasts, Origins: s.origins, TrustedProxies: s.settings.TrustedProxies, Limits: s.limits(),
		MaxConnections: s.connections(), Logger: log, Registerer: s.registry, Tracer: s.tracer,
	})
	if err != nil {
		return app, err
	}
	s.stage("realtime", func(ctx context.Context) error { return server.Run(ctx, s.sockets) })
	return app, nil
}

// connections is how many clients each of the process's listeners takes.
func (s *Server) connections() int {
	all := maxConnections(s.settings.WorkerConcurrency)
	if s.settings.Roles.Realtime && s.settings.Addr != config.AddrOff {
		return max(1, all/2)
	}
	return all
}

// listenRealtime opens the listener for WebSockets.
func (s *Server) listenRealtime(ctx context.Context) error {
	if !s.settings.Roles.Realtime {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(s.settings.RealtimeAddr))
	if err != nil {
		return listenError("for WebSockets ", "--realtime-addr", string(s.settings.RealtimeAddr), err)
	}
	s.sockets = web.LimitListener(listener.(*net.TCPListener), s.connections()+turnedAway, s.settings.TrustedProxies) //nolint:forcetypeassert // of "tcp"
	return nil
}

// RealtimeURL is where clients connect; "" without the role realtime.
func (s *Server) RealtimeURL() string {
	if s.sockets == nil {
		return ""
	}
	return "ws://" + s.sockets.Addr().String()
}
