package app

import (
	"context"
	"crypto/rand"

	"orderflow/internal/pusher"
	"orderflow/internal/realtime"
	"orderflow/internal/web"
)

// refusedMax is the limit of concurrent WebSockets beyond the limit of connections that get an error before they are closed.
const refusedMax = 64

// addRealtime adds the WebSocket server, with the role realtime. Its stage comes before the stages that publish, and so ends after them:
// the events of the last batch are still sent. Without a secret in the settings this process draws one, which only it knows.
func (s *Server) addRealtime(context.Context) error {
	s.origins = web.NewOrigins(s.settings.AllowedOrigins)
	s.pusher = pusher.App{ID: s.settings.RealtimeAppID, Key: s.settings.RealtimeKey, Secret: s.settings.RealtimeSecret.Reveal()}
	if !s.settings.Roles.Realtime {
		return nil
	}
	if s.pusher.Secret == "" {
		s.pusher.Secret = rand.Text()
	}
	server, err := realtime.New(realtime.Options{
		App: s.pusher, Bus: s.ports.bus, Cache: s.ports.channels,
		Origins: s.origins, TrustedProxies: s.settings.TrustedProxies, Limits: s.limits(),
		MaxConnections: s.connections(), Logger: s.log.Logger(), Registerer: s.registry, Tracer: s.tracer,
	})
	if err != nil {
		return err
	}
	s.addStage("realtime", func(ctx context.Context) error { return server.Run(ctx, s.sockets) })
	return nil
}
