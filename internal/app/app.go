// Package app puts the product together: from settings to a running server. It is the one place where all parts meet.
//
// Start reads as one story: open the database, make this process its server, bring up what it has roles for, listen.
// Run works until it is told to stop and then takes everything down in reverse, so that whoever hands work on ends
// before whoever it hands it to: requests, batches, charges, the bus, the database.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow/internal/api"
	"orderflow/internal/auth"
	"orderflow/internal/bus"
	"orderflow/internal/config"
	"orderflow/internal/console"
	"orderflow/internal/intake"
	"orderflow/internal/limit"
	"orderflow/internal/order"
	"orderflow/internal/outbox"
	"orderflow/internal/payment"
	"orderflow/internal/pusher"
	"orderflow/internal/redis"
	"orderflow/internal/store"
	"orderflow/internal/telemetry"
	"orderflow/internal/tracing"
	"orderflow/internal/unbatched"
	"orderflow/internal/web"
	"orderflow/internal/worker"
)

const (
	linesMax     = 20_000           // order lines in one transaction
	limitedKeys  = 100_000          // client addresses whose rate is remembered
	tracesWithin = 3 * time.Second  // for the last spans to be sent
	stopWithin   = 30 * time.Second // from the signal to the end of the process, drain delay included
)

// Options are what a Server needs beside its settings.
type Options struct {
	Version string
	Log     io.Writer // of log lines
	Text    bool      // log lines for people, else JSON

	// Unbatched makes the server take orders one transaction per order, for the comparison of `orderflow bench`: with the row locks
	// of the database only, or with product locks in the Redis of the settings too. It then publishes no events. The settings must
	// have the role api alone.
	Unbatched Unbatched
}

// Unbatched is whether orders are taken one transaction per order, and under which locks.
type Unbatched int

// The ways to take orders.
const (
	Batched        Unbatched = iota // the product
	UnbatchedRows                   // row locks only
	UnbatchedLocks                  // product locks too
)

// Server is a running server. Start one, then call Run.
type Server struct {
	settings config.Settings
	takes    Unbatched
	log      *telemetry.Log
	tracer   tracing.Tracer                  // of nothing without an endpoint
	untrace  func(ctx context.Context) error // sends the spans that wait
	registry *prometheus.Registry            // of what this process counts: cheap to gather
	asked    *prometheus.Registry            // of what the database, the bus or the operating system is asked for
	db       *store.Store
	release  func() error // of the guard on the database
	samples  bool         // the sample data was added at start
	empty    bool         // there was neither a user nor a product at start
	logins   int          // sample users that could log in at start; 0 without the role api
	api      *api.API
	console  *console.Console // nil without the role api
	http     *http.Server
	listener net.Listener // nil with --addr off
	sockets  net.Listener // of WebSockets; nil without the role realtime
	conns    *web.Connections
	origins  *web.Origins
	ports    ports
	faults   *payment.Faults  // of the simulated gateway, where things may be tried out; else nil
	breaker  *payment.Breaker // nil without the role worker
	stages   []stage
}

// Start opens the database, brings its schema up to date, takes up the roles of the settings and listens. It answers
// requests from Run on. On an error nothing is left behind but what the database has by then.
func Start(ctx context.Context, settings config.Settings, options Options) (server *Server, err error) {
	s := &Server{settings: settings, takes: options.Unbatched, registry: prometheus.NewRegistry(), asked: telemetry.NewRegistry(options.Version)}
	dropped := prometheus.NewCounter(prometheus.CounterOpts{Name: "orderflow_log_dropped_total", Help: "Log lines that found no room."})
	s.registry.MustRegister(dropped)
	s.log = telemetry.NewLog(options.Log, telemetry.LogOptions{ //nolint:contextcheck // its writer lives until close
		Text: options.Text, Level: settings.LogLevel, Dropped: func(lines int) { dropped.Add(float64(lines)) },
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.openTraces(ctx, options.Version); err != nil {
		return nil, err
	}
	if err := s.openStore(ctx); err != nil {
		return nil, err
	}
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	return s, s.listen(ctx)
}

// URL is where the server listens; "" when it does not.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	return "http://" + s.listener.Addr().String()
}

// Rules are the settings that decisions depend on.
func Rules(settings config.Settings) order.Rules {
	rules := order.DefaultRules()
	rules.Currency = settings.Currency
	rules.PaymentAttempts, rules.Backoff, rules.Lease = settings.PaymentAttempts, settings.Backoff, settings.Lease
	return rules
}

// openTraces makes what spans are begun with, when the settings say where to send them.
func (s *Server) openTraces(ctx context.Context, version string) error {
	if s.settings.OTLPEndpoint == "" {
		return nil
	}
	provider, err := telemetry.NewTraces(ctx, telemetry.TraceOptions{
		Endpoint: s.settings.OTLPEndpoint, Ratio: s.settings.TraceSample, Version: version, Node: Node("orderflow"),
		Registerer: s.registry, Logger: s.log.Logger(),
	})
	if err != nil {
		return err
	}
	s.tracer, s.untrace = tracing.New(provider), provider.Shutdown
	return nil
}

// openStore opens the database, guards a file against a second server, and brings it up to date. An empty database gets the
// sample data where the settings ask for it.
func (s *Server) openStore(ctx context.Context) (err error) {
	transactions := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "orderflow_store_write_seconds", Help: "Time of a write transaction, from its connection to its commit.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
	}, []string{"write"})
	waits := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "orderflow_store_wait_seconds", Help: "Time that write transactions waited for a connection.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
	})
	s.registry.MustRegister(transactions, waits)
	s.db, err = store.Open(ctx, s.settings.Database.Reveal(), store.Options{
		Rules: Rules(s.settings), Replica: s.settings.DatabaseRead.Reveal(), Pool: s.settings.DatabasePool,
		Observe: func(name string, waited, took time.Duration) {
			waits.Observe(waited.Seconds())
			transactions.WithLabelValues(name).Observe(took.Seconds())
		},
		Warn: func(line string) { s.log.Logger().Warn(line, "event", "database.warning") },
		Damaged: func(err error) {
			s.log.Logger().Error("The database file is damaged; nothing more is written to it. Stop the server and restore a backup.",
				"event", "database.damaged", "error", err.Error())
		},
		BusReachable: func() bool { return s.ports.client == nil || s.ports.client.Up() }, // by this very process
	})
	if err != nil {
		return err
	}
	if s.release, err = s.db.LockFile(); err != nil {
		return err
	}
	if err := s.db.Migrate(ctx); err != nil {
		return err
	}
	if err := s.db.CorrectTimes(ctx); err != nil {
		return err
	}
	s.asked.MustRegister(newBacklog(s.db.Backlog))
	if s.settings.Samples {
		if s.samples, err = s.db.SeedEmpty(ctx); err != nil {
			return err
		}
	}
	if s.empty, err = s.db.Empty(ctx); err != nil {
		return err
	}
	if err := s.countSampleLogins(ctx); err != nil {
		return err
	}
	return s.checkCurrency(ctx)
}

// checkCurrency refuses to sell at prices of another currency: their numbers would be taken for this one's.
func (s *Server) checkCurrency(ctx context.Context) error {
	products, err := s.db.Products(ctx)
	for _, p := range products {
		if p.Currency != s.settings.Currency {
			return order.Errorf(order.CodeValidation, "Product %d is priced in %s, and --currency is %s: they must agree.",
				p.ID, p.Currency, s.settings.Currency)
		}
	}
	return err
}

// build makes the parts and lines them up as stages, in the order in which they start.
func (s *Server) build(ctx context.Context) error {
	log := s.log.Logger()
	var err error
	if s.ports, err = s.newPorts(ctx, log); err != nil {
		return err
	}
	messages := s.ports.bus
	app, err := s.buildRealtime(log)
	if err != nil {
		return err
	}
	publisher := outbox.NewPublisher(outbox.PublisherOptions{Bus: messages, Marker: s.db, Registerer: s.registry, Logger: log, Tracer: s.tracer})
	relay := outbox.NewRelay(outbox.RelayOptions{Bus: messages, Store: s.db, Registerer: s.registry, Logger: log, Tracer: s.tracer})
	s.stage("store", s.db.Run)
	if s.takes == Batched {
		s.stage("publisher", publisher.Run)
		s.stage("relay", relay.Run)
	}

	if s.settings.Roles.Worker {
		workers, err := s.newWorker(ctx, messages, publisher, log)
		if err != nil {
			return err
		}
		if err := workers.Join(ctx); err != nil && s.ports.client == nil { // Redis may be down: the worker joins when it is back
			return err
		}
		s.stage("worker", workers.Run)
	}
	return s.buildAPI(ctx, publisher, app, log)
}

// newWorker makes the worker with its gateway behind the breaker.
func (s *Server) newWorker(ctx context.Context, messages bus.Bus, publisher *outbox.Publisher, log *slog.Logger) (*worker.Worker, error) {
	installation, err := s.db.Installation(ctx)
	if err != nil {
		return nil, err
	}
	gateway, err := NewGateway(s.settings, installation)
	if err != nil {
		return nil, err
	}
	if s.hasDemo() {
		s.faults = payment.NewFaults(gateway)
		gateway = s.faults
	}
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "orderflow_breaker_state",
		Help: "1 for the state that the gateway's circuit breaker is in, for each kind of call (charge, void): closed, open or half-open.",
	}, []string{"kind", "state"})
	s.registry.MustRegister(open)
	for _, kind := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		for state, is := range map[string]float64{payment.StateClosed: 1, payment.StateOpen: 0, payment.StateHalfOpen: 0} {
			open.WithLabelValues(string(kind), state).Set(is)
		}
	}
	breaker := payment.NewBreaker(gateway, payment.BreakerOptions{OnStateChange: func(kind order.PaymentKind, from, to string) {
		open.WithLabelValues(string(kind), from).Set(0)
		open.WithLabelValues(string(kind), to).Set(1)
		log.Warn("The circuit breaker of the payment gateway changed.", "event", "breaker.changed", "kind", string(kind), "from", from, "to", to)
	}})
	s.breaker = breaker
	return worker.New(worker.Options{
		Orders: s.db, Gateway: breaker, Breaker: breaker.Charges(), VoidBreaker: breaker.Voids(), Bus: messages, Publisher: publisher,
		Installation: installation, Node: Node("worker"), Rules: Rules(s.settings),
		Concurrency: s.settings.WorkerConcurrency, ChargeTimeout: s.settings.ChargeTimeout,
		BatchMax: s.settings.BatchMax, BatchLoops: s.loops(), Registerer: s.registry, OnScrape: s.asked, Logger: log, Tracer: s.tracer,
	})
}

// buildAPI makes the intake, when the process has the role api, and the HTTP API, which every process has for its
// probes.
func (s *Server) buildAPI(
	ctx context.Context, publisher *outbox.Publisher, app pusher.App, log *slog.Logger,
) error {
	options := api.Options{
		Reader: s.db, Bus: s.ports.bus, Products: s.ports.products, Logger: log, Registerer: s.registry, Tracer: s.tracer,
		RedisState: s.ports.state, RedisReason: s.ports.reason,
		Limiter: s.ports.limiter, Rate: limit.Rate(s.settings.RateLimit), AdminRate: limit.Rate(s.settings.AdminRateLimit),
		TrustedProxies: s.settings.TrustedProxies, AllowedOrigins: s.settings.AllowedOrigins,
		Realtime: app,
		Metrics:  promhttp.HandlerFor(telemetry.WithFormerNames(prometheus.Gatherers{s.registry, s.asked}), promhttp.HandlerOpts{}),
	}
	if s.settings.Roles.API && !s.settings.Roles.Worker && s.ports.client == nil {
		log.Warn("This process takes orders and charges none; they wait until a server with the role worker runs on this database.",
			"event", "roles.no_worker")
	}
	if s.settings.Roles.API {
		options.Intake = s.newIntake(publisher, log)
		options.Auth = auth.New(auth.Options{Tokens: s.db, Users: s.db, Passwords: auth.NewPasswords(auth.PasswordOptions{})})
		options.AuthRequired = s.settings.Auth == config.AuthRequired
		options.Local = s.local()
		options.SessionCookie = console.SessionCookie
		desk, err := newFailedJobService(ctx, s.settings, s.db, worker.FailedJobServiceOptions{Publisher: publisher, Logger: log})
		if err != nil {
			return err
		}
		options.Admin, options.FailedJobs, options.Auditor = s.db, desk, auditor{s.db}
	}
	s.api = api.New(options)
	s.stage("api", s.api.Run)
	if s.settings.Roles.API {
		return s.buildConsole(log)
	}
	return nil
}

// newIntake makes what takes orders.
func (s *Server) newIntake(publisher *outbox.Publisher, log *slog.Logger) api.Intake {
	switch s.takes {
	case UnbatchedRows:
		return unbatched.New(s.db, nil)
	case UnbatchedLocks:
		return unbatched.New(s.db, redis.NewPlainLocker(s.ports.client))
	case Batched:
	}
	orders := intake.New(intake.Options{
		Orders: s.db, Locker: s.ports.locker, Publisher: publisher,
		BatchMax: s.settings.BatchMax, QueueMax: s.settings.QueueMax, Lines: linesMax, Loops: s.loops(),
		Logger: log, Registerer: s.registry, Tracer: s.tracer,
	})
	s.stage("intake", orders.Run)
	return orders
}

// local reports whether whoever sits at this machine is its operator: nobody else can come here, and nobody has to say who they
// are.
func (s *Server) local() bool {
	return s.settings.Addr.Loopback() && s.settings.Auth != config.AuthRequired && len(s.settings.TrustedProxies) == 0
}

// loops is how many batches commit at once: one, so that orders are served in turn, unless batching is off; then as
// many as the database takes.
func (s *Server) loops() int {
	if s.settings.BatchMax > 1 {
		return 1
	}
	return s.db.Writers()
}

// NewGateway makes the gateway of the settings. Without a seed of its own the simulated one takes the installation's id,
// so that it is drawn once a database and every process agrees.
func NewGateway(settings config.Settings, installation string) (payment.Gateway, error) {
	if settings.Gateway != config.GatewaySimulated {
		return payment.NewHTTP(payment.HTTPOptions{
			URL: settings.Gateway, Secret: settings.GatewaySecret.Reveal(), MaxConns: settings.WorkerConcurrency,
		})
	}
	seed := settings.SimulatedSeed
	if seed == "" {
		seed = installation
	}
	return payment.NewSimulated(payment.SimulatedOptions{
		MinLatency: settings.SimulatedLatency.Min, MaxLatency: settings.SimulatedLatency.Max,
		Success: settings.SimulatedSuccess, Seed: seed,
	})
}

// Node names this process in histories, such as "worker:host-4711".
func Node(role string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%.64s-%d", role, host, os.Getpid())
}

// limits are the limits of the process's HTTP servers.
func (s *Server) limits() web.Limits { return web.Limits{Idle: s.settings.IdleTimeout} }

func (s *Server) listen(ctx context.Context) error {
	if err := s.listenRealtime(ctx); err != nil {
		return err
	}
	s.http = web.NewServer(s.api.Handler(), s.limits())
	s.http.ErrorLog = slog.NewLogLogger(s.log.Logger().Handler(), slog.LevelDebug)
	if s.settings.Addr == config.AddrOff {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(s.settings.Addr))
	if err != nil {
		return listenError("", "--addr", string(s.settings.Addr), err)
	}
	s.listener = web.LimitListener(listener.(*net.TCPListener), s.connections(), s.settings.TrustedProxies) //nolint:forcetypeassert // of "tcp"
	_, s.origins.APIPort, _ = net.SplitHostPort(listener.Addr().String())                                   // the address of a listener is well-formed
	s.conns = web.CountConnections(s.http)
	s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderflow_http_connections", Help: "Connections of clients that are open, WebSockets aside.",
	}, func() float64 { return float64(s.conns.Count()) }))
	return nil
}

// close gives back what Start took.
func (s *Server) close(ctx context.Context) error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.sockets != nil {
		if err := s.sockets.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.ports.close())
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.release != nil {
		errs = append(errs, s.release())
	}
	if s.untrace != nil {
		limited, cancel := context.WithTimeout(ctx, tracesWithin)
		_ = s.untrace(limited) // spans that could not be sent are no reason to end badly
		cancel()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return errors.Join(append(errs, s.log.Close(ctx))...)
}
