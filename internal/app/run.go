package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

// connectionsTimeout is how long a draining server waits for open connections. The answer to the next request of each closes it; idle ones
// are closed after this time.
const connectionsTimeout = time.Second

// Run serves until ctx ends or a stage fails, and then drains: it reports not ready, accepts no connections after the drain delay, commits
// batches, finishes charges or hands them back, and flushes the bus. It closes the server in any case. Call it once.
func (s *Server) Run(ctx context.Context) error {
	background := context.WithoutCancel(ctx) // stages end in order, not with the signal
	if s.settings.MaxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.settings.MaxTime)
		defer cancel()
	}
	failed := make(chan error, len(s.stages)+1)
	stops := make([]func() error, len(s.stages))
	for i, part := range s.stages {
		stops[i] = start(background, part, failed)
	}
	served := s.serve(failed)
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	reason := drainReason(ctx, cause)
	ended := make(chan error, 1)
	go func() { ended <- s.shutDown(background, stops, served, reason) }()
	limit := time.NewTimer(stopTimeout)
	defer limit.Stop()
	select {
	case err := <-ended:
		return errors.Join(cause, err)
	case <-limit.C: // confirmed orders are durable, so the process may end
		s.log.Logger().ErrorContext(ctx, "The server did not stop in time. Confirmed orders are safe.", "event", "server.stop_overdue",
			"limit", stopTimeout.String())
		return errors.Join(cause, fmt.Errorf("the server did not stop within %s", stopTimeout))
	}
}

// shutDown drains, and stops the stages in reverse order.
func (s *Server) shutDown(ctx context.Context, stops []func() error, served <-chan struct{}, reason string) error {
	draining := s.logDrain(ctx, reason)
	errs := []error{s.drain(ctx, served)}
	for _, stop := range slices.Backward(stops) {
		errs = append(errs, stop())
	}
	draining.end(ctx, errors.Join(errs...))
	return errors.Join(append(errs, s.close(ctx))...)
}

// start runs a stage. It returns a function that stops it and waits for its end. A stage that ends by itself has failed.
func start(ctx context.Context, part stage, failed chan<- error) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		err := part.run(ctx)
		if err != nil {
			err = fmt.Errorf("%s: %w", part.name, err)
		}
		ended <- err
		if ctx.Err() == nil {
			if err == nil {
				err = fmt.Errorf("%s ended unexpectedly", part.name)
			}
			failed <- err
		}
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

// serve accepts connections. The channel is closed when it has ended.
func (s *Server) serve(failed chan<- error) <-chan struct{} {
	served := make(chan struct{})
	if s.listener == nil {
		close(served)
		return served
	}
	go func() {
		defer close(served)
		if err := s.http.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	return served
}

// drain ends the HTTP server without cutting off an answer. It reports not ready, so that load balancers react; after the drain delay it
// accepts no connections; open connections close with their next answer; then it closes idle ones.
func (s *Server) drain(ctx context.Context, served <-chan struct{}) error {
	s.api.Drain()
	if s.console != nil {
		s.console.Drain()
	}
	if s.listener == nil {
		return nil
	}
	delay := time.NewTimer(s.settings.DrainDelay)
	<-delay.C
	err := s.listener.Close()
	<-served
	s.conns.Wait(connectionsTimeout)
	ctx, cancel := context.WithTimeout(ctx, stopTimeout/2)
	defer cancel()
	if shutdown := s.http.Shutdown(ctx); shutdown != nil {
		return fmt.Errorf("requests were cut off: %w", errors.Join(shutdown, s.http.Close()))
	}
	return err
}
