package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow/internal/api"
	"orderflow/internal/auth"
	"orderflow/internal/config"
	"orderflow/internal/console"
	"orderflow/internal/intake"
	"orderflow/internal/limit"
	"orderflow/internal/redis"
	"orderflow/internal/telemetry"
	"orderflow/internal/unbatched"
	"orderflow/internal/worker"
)

// linesMax bounds the order lines in one transaction.
const linesMax = 20_000

// addAPI adds the HTTP API, which serves probes and metrics in every process, and orders with the role api.
func (s *Server) addAPI(ctx context.Context) error {
	log := s.log.Logger()
	options := api.Options{
		Reader: s.db, Bus: s.ports.bus, Products: s.ports.products, Logger: log, Registerer: s.registry, Tracer: s.tracer,
		RedisState: s.ports.state, RedisReason: s.ports.reason,
		Limiter: s.ports.limiter, Rate: limit.Rate(s.settings.RateLimit), AdminRate: limit.Rate(s.settings.AdminRateLimit),
		TrustedProxies: s.settings.TrustedProxies, AllowedOrigins: s.settings.AllowedOrigins,
		Realtime: s.pusher,
		Metrics:  promhttp.HandlerFor(telemetry.WithFormerNames(prometheus.Gatherers{s.registry, s.onScrape}), promhttp.HandlerOpts{}),
	}
	if s.settings.Roles.API {
		if !s.settings.Roles.Worker && s.ports.client == nil {
			log.Warn("This process takes orders, but does not process payments. "+
				"The orders wait until a server with the role worker runs on this database.",
				"event", "roles.no_worker")
		}
		options.Intake = s.addIntake()
		options.Auth = auth.New(auth.Options{Tokens: s.db, Users: s.db, Passwords: auth.NewPasswords(auth.PasswordOptions{})})
		options.AuthRequired = s.settings.Auth == config.AuthRequired
		options.Local = s.local()
		options.SessionCookie = console.SessionCookie
		failedJobs, err := newFailedJobService(ctx, s.settings, s.db, worker.FailedJobServiceOptions{Publisher: s.publisher, Logger: log})
		if err != nil {
			return err
		}
		options.Admin, options.FailedJobs, options.Auditor = s.db, failedJobs, auditor{s.db}
	}
	s.api = api.New(options)
	s.addStage("api", s.api.Run)
	return nil
}

// addIntake adds the intake of orders.
func (s *Server) addIntake() api.Intake {
	switch s.unbatched {
	case UnbatchedRows:
		return unbatched.New(s.db, nil)
	case UnbatchedLocks:
		return unbatched.New(s.db, redis.NewPlainLocker(s.ports.client))
	case Batched:
	}
	orders := intake.New(intake.Options{
		Orders: s.db, Locker: s.ports.locker, Publisher: s.publisher,
		BatchMax: s.settings.BatchMax, QueueMax: s.settings.QueueMax, Lines: linesMax, Loops: s.loops(),
		Logger: s.log.Logger(), Registerer: s.registry, Tracer: s.tracer,
	})
	s.addStage("intake", orders.Run)
	return orders
}

// local reports whether every client is the operator: the server can be reached only from this machine, and needs no token.
func (s *Server) local() bool {
	return s.settings.Addr.Loopback() && s.settings.Auth != config.AuthRequired && len(s.settings.TrustedProxies) == 0
}

// loops returns the number of batches that commit concurrently: one, so that orders are served in order of arrival. Without batching it
// is the number of writing transactions that the database runs concurrently.
func (s *Server) loops() int {
	if s.settings.BatchMax > 1 {
		return 1
	}
	return s.db.Writers()
}
