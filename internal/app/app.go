// Package app builds a running server from settings. It is the only package that imports all parts of the product.
//
// Start opens the database and the adapters that processes share (bus, locks, limits), adds the services of the process's roles (api,
// worker, realtime), and listens. Each service is a stage: a function that runs until its context ends. Run starts the stages in order
// and stops them in reverse order, so that a service ends before the services that it uses: first requests, then batches, charges, the
// bus and the database.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/api"
	"orderflow/internal/config"
	"orderflow/internal/console"
	"orderflow/internal/outbox"
	"orderflow/internal/payment"
	"orderflow/internal/pusher"
	"orderflow/internal/store"
	"orderflow/internal/telemetry"
	"orderflow/internal/tracing"
	"orderflow/internal/web"
)

const (
	tracesTimeout = 3 * time.Second  // for sending the last spans
	stopTimeout   = 30 * time.Second // from the signal to the end of the process, drain delay included
)

// Options are the parameters of a Server that are not settings.
type Options struct {
	Version string
	Log     io.Writer // of log lines
	Text    bool      // log lines are text, else JSON

	// Unbatched makes the server take orders one transaction per order, for the comparison of `orderflow bench`. Such a server publishes
	// no events, and its settings must have the role api alone.
	Unbatched Unbatched
}

// Unbatched selects one transaction per order, and its locks.
type Unbatched int

// The ways to take orders.
const (
	Batched        Unbatched = iota // the product
	UnbatchedRows                   // with row locks only
	UnbatchedLocks                  // also with product locks in Redis
)

// Server is a server that was started. Call Run once.
type Server struct {
	settings  config.Settings
	unbatched Unbatched
	stages    []stage

	log         *telemetry.Log
	tracer      tracing.Tracer                  // records nothing without an endpoint
	closeTraces func(ctx context.Context) error // sends the remaining spans
	registry    *prometheus.Registry            // metrics of this process, cheap to gather
	onScrape    *prometheus.Registry            // metrics that query the database, the bus or the operating system

	db         *store.Store
	unlockFile func() error // releases the lock file of an SQLite database
	samples    bool         // the sample data was added at start
	empty      bool         // there was neither a user nor a product at start
	logins     int          // sample users that could log in at start; 0 without the role api

	ports     ports
	publisher *outbox.Publisher
	faults    *payment.Faults  // injects faults into the simulated gateway; nil where that is not allowed
	breaker   *payment.Breaker // nil without the role worker
	pusher    pusher.App       // without a secret nothing can be signed

	api      *api.API
	console  *console.Console // nil without the role api
	http     *http.Server
	listener net.Listener // nil with --addr off
	conns    *web.Connections
	sockets  net.Listener // of WebSockets; nil without the role realtime
	origins  *web.Origins
}

// Start opens the database, migrates it, starts to listen and prepares the services of the roles, which Run starts. After an error
// nothing remains open.
func Start(ctx context.Context, settings config.Settings, options Options) (server *Server, err error) {
	s := &Server{
		settings: settings, unbatched: options.Unbatched, registry: prometheus.NewRegistry(), onScrape: telemetry.NewRegistry(options.Version),
	}
	s.openLog(options) //nolint:contextcheck // its writer lives until close
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.openTraces(ctx, options.Version); err != nil {
		return nil, err
	}
	for _, step := range []func(ctx context.Context) error{
		s.openDatabase, // locks an SQLite file, migrates, adds samples
		s.openPorts,    // bus, product locks, rate limits and caches: in Redis or in the process
		s.addRealtime,  // role realtime: the WebSocket server
		s.addOutbox,    // publishes the events of transactions
		s.addWorker,    // role worker: payments
		s.addAPI,       // role api: orders; every process: probes and metrics
		s.addConsole,   // role api: the web console
		s.listen,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// stage is one running service: it blocks until its context ends, finishes its current work, and returns.
type stage struct {
	name string
	run  func(ctx context.Context) error
}

func (s *Server) addStage(name string, run func(ctx context.Context) error) {
	s.stages = append(s.stages, stage{name, run})
}

// Node names this process in histories, such as "worker:host-4711".
func Node(role string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%.64s-%d", role, host, os.Getpid())
}

// openLog opens the log.
func (s *Server) openLog(options Options) {
	dropped := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "orderflow_log_dropped_total", Help: "Log lines dropped because the buffer was full.",
	})
	s.registry.MustRegister(dropped)
	s.log = telemetry.NewLog(options.Log, telemetry.LogOptions{
		Text: options.Text, Level: s.settings.LogLevel, Dropped: func(lines int) { dropped.Add(float64(lines)) },
	})
}

// openTraces opens the export of traces, if the settings have an endpoint.
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
	s.tracer, s.closeTraces = tracing.New(provider), provider.Shutdown
	return nil
}

// addOutbox adds the publisher and the relay of the outbox. An unbatched server publishes no events.
func (s *Server) addOutbox(context.Context) error {
	log := s.log.Logger()
	s.publisher = outbox.NewPublisher(outbox.PublisherOptions{Bus: s.ports.bus, Marker: s.db, Registerer: s.registry, Logger: log, Tracer: s.tracer})
	relay := outbox.NewRelay(outbox.RelayOptions{Bus: s.ports.bus, Store: s.db, Registerer: s.registry, Logger: log, Tracer: s.tracer})
	s.addStage("store", s.db.Run)
	if s.unbatched == Batched {
		s.addStage("publisher", s.publisher.Run)
		s.addStage("relay", relay.Run)
	}
	return nil
}

// close closes what Start opened.
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
	if s.unlockFile != nil {
		errs = append(errs, s.unlockFile())
	}
	if s.closeTraces != nil {
		limited, cancel := context.WithTimeout(ctx, tracesTimeout)
		_ = s.closeTraces(limited) // lost spans are not an error of the server
		cancel()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return errors.Join(append(errs, s.log.Close(ctx))...)
}
