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

// stage is one running part: it blocks until its context ends, finishes what it has begun, and returns.
type stage struct {
	name string
	run  func(ctx context.Context) error
}

func (s *Server) stage(name string, run func(ctx context.Context) error) {
	s.stages = append(s.stages, stage{name, run})
}

// connectionsWithin is how long connections that are in use may take to close after the listener has: their clients
// send a request once more, and its answer closes them. Those that stay idle are closed then.
const connectionsWithin = time.Second

// Run serves until ctx ends or a part fails, then drains: not ready, after the drain delay no new connections, batches
// committed, charges finished or handed back, the bus flushed. It returns nil when all went as it should, and gives
// everything back in any case. Call it once.
func (s *Server) Run(ctx context.Context) error {
	life := context.WithoutCancel(ctx) // of what ends in order and not with the signal
	if s.settings.MaxTime > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.settings.MaxTime)
		defer cancel()
	}
	failed := make(chan error, len(s.stages)+1)
	stops := make([]func() error, len(s.stages))
	for i, part := range s.stages {
		stops[i] = start(life, part, failed)
	}
	served := s.serve(failed)
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	reason := drainReason(ctx, cause)
	down := make(chan error, 1)
	go func() { down <- s.takeDown(life, stops, served, reason) }()
	limit := time.NewTimer(stopWithin)
	defer limit.Stop()
	select {
	case err := <-down:
		return errors.Join(cause, err)
	case <-limit.C: // the process ends all the same; what was acknowledged is on the disk
		s.log.Logger().ErrorContext(ctx, "The server did not stop in time; what was acknowledged is safe.", "event", "server.stop_overdue",
			"limit", stopWithin.String())
		return errors.Join(cause, fmt.Errorf("the server did not stop within %s", stopWithin))
	}
}

// takeDown ends everything in the reverse of the order in which it started.
func (s *Server) takeDown(ctx context.Context, stops []func() error, served <-chan struct{}, reason string) error {
	draining := s.logDrain(ctx, reason)
	errs := []error{s.drain(ctx, served)}
	for _, stop := range slices.Backward(stops) {
		errs = append(errs, stop())
	}
	draining.end(ctx, errors.Join(errs...))
	return errors.Join(append(errs, s.close(ctx))...)
}

// start runs a stage and returns what stops it and waits for its end. A stage that ends by itself has failed.
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
				err = fmt.Errorf("%s ended by itself", part.name)
			}
			failed <- err
		}
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

// serve accepts connections; the channel is closed when it does no more.
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

// drain ends the HTTP server without cutting an answer: first load balancers see that it is not ready, then no new
// connections are taken, then those in use close with their next answer, then the idle ones are closed.
func (s *Server) drain(ctx context.Context, served <-chan struct{}) error {
	s.api.Drain()
	if s.console != nil {
		s.console.Drain()
	}
	if s.listener == nil {
		return nil
	}
	noticed := time.NewTimer(s.settings.DrainDelay)
	<-noticed.C
	err := s.listener.Close()
	<-served
	s.conns.Wait(connectionsWithin)
	ctx, cancel := context.WithTimeout(ctx, stopWithin/2)
	defer cancel()
	if shutdown := s.http.Shutdown(ctx); shutdown != nil {
		return fmt.Errorf("requests were cut off: %w", errors.Join(shutdown, s.http.Close()))
	}
	return err
}
