package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/config"
	"orderflow/internal/order"
	"orderflow/internal/payment"
	"orderflow/internal/store"
	"orderflow/internal/worker"
)

// addWorker adds the worker, with a circuit breaker before its gateway.
func (s *Server) addWorker(ctx context.Context) error {
	if !s.settings.Roles.Worker {
		return nil
	}
	installation, err := s.db.Installation(ctx)
	if err != nil {
		return err
	}
	gateway, err := NewGateway(s.settings, installation)
	if err != nil {
		return err
	}
	if s.hasDemo() {
		s.faults = payment.NewFaults(gateway)
		gateway = s.faults
	}
	s.breaker = s.newBreaker(gateway)
	workers, err := worker.New(worker.Options{
		Orders: s.db, Gateway: s.breaker, Breaker: s.breaker.Charges(), VoidBreaker: s.breaker.Voids(), Bus: s.ports.bus, Publisher: s.publisher,
		Installation: installation, Node: Node("worker"), Rules: Rules(s.settings),
		Concurrency: s.settings.WorkerConcurrency, ChargeTimeout: s.settings.ChargeTimeout, BatchMax: s.settings.BatchMax, BatchLoops: s.loops(),
		Registerer: s.registry, OnScrape: s.onScrape, Logger: s.log.Logger(), Tracer: s.tracer,
	})
	if err != nil {
		return err
	}
	if err := workers.Join(ctx); err != nil && s.ports.client == nil { // while Redis is down, the worker joins later
		return err
	}
	s.addStage("worker", workers.Run)
	return nil
}

// newBreaker returns a circuit breaker before a gateway, with its metric and its log line.
func (s *Server) newBreaker(gateway payment.Gateway) *payment.Breaker {
	state := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "orderflow_breaker_state",
		Help: "1 for the state of the gateway's circuit breaker (closed, open or half-open), for each kind of call (charge, void).",
	}, []string{"kind", "state"})
	s.registry.MustRegister(state)
	for _, kind := range []order.PaymentKind{order.KindCharge, order.KindVoid} {
		for name, value := range map[string]float64{payment.StateClosed: 1, payment.StateOpen: 0, payment.StateHalfOpen: 0} {
			state.WithLabelValues(string(kind), name).Set(value)
		}
	}
	return payment.NewBreaker(gateway, payment.BreakerOptions{OnStateChange: func(kind order.PaymentKind, from, to string) {
		state.WithLabelValues(string(kind), from).Set(0)
		state.WithLabelValues(string(kind), to).Set(1)
		s.log.Logger().Warn("The circuit breaker of the payment gateway changed its state.",
			"event", "breaker.changed", "kind", string(kind), "from", from, "to", to)
	}})
}

// NewGateway returns the gateway of the settings. The default seed of the simulated gateway is the id of the installation, which all
// processes on a database share.
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

// newFailedJobService returns a service for failed jobs with the gateway of the settings.
func newFailedJobService(
	ctx context.Context, settings config.Settings, db *store.Store, options worker.FailedJobServiceOptions,
) (*FailedJobService, error) {
	installation, err := db.Installation(ctx)
	if err != nil {
		return nil, err
	}
	gateway, err := NewGateway(settings, installation)
	if err != nil {
		return nil, err
	}
	options.Jobs, options.Gateway, options.Installation, options.ChargeTimeout = db, gateway, installation, settings.ChargeTimeout
	return worker.NewFailedJobService(options), nil
}
