package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"orderflow/internal/app"
	"orderflow/internal/bench"
	"orderflow/internal/config"
)

type serveCommand struct {
	config.Settings
}

// gcPercent lets the heap grow to five times its live size before a collection. A server has a small live heap and a high
// allocation rate, so that the default of 100 spends an eighth of the processor time on collections (docs/performance.md).
// GOGC in the environment overrides it.
const gcPercent = 400

// Run serves until the process is stopped.
func (s serveCommand) Run(ctx context.Context, streams Streams) error {
	return s.run(ctx, streams, app.Batched)
}

func (s serveCommand) run(ctx context.Context, streams Streams, unbatched app.Unbatched) error {
	defer app.SurviveBrokenPipes()()
	// A process for WebSockets alone has a large live heap, which must not grow to five times its size.
	if (s.Roles.API || s.Roles.Worker) && environ(streams.Environ, "GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	server, err := app.Start(ctx, s.Settings, app.Options{
		Version: streams.Version, Log: streams.Err, Text: s.textLog(streams), Unbatched: unbatched,
	})
	if err != nil {
		return err
	}
	// One write, so that a reader of the first line gets all lines. A closed pipe does not keep the server from serving.
	_, _ = io.WriteString(streams.Out, startMessage(streams.Version, server, s.Settings))
	return server.Run(ctx)
}

// textLog reports whether log lines are text rather than JSON.
func (s serveCommand) textLog(streams Streams) bool {
	if s.LogFormat != config.LogAuto {
		return s.LogFormat == config.LogText
	}
	return app.Terminal(streams.Err)
}

// unbatchedCommand is the server that bench --compare measures beside Orderflow.
type unbatchedCommand struct {
	config.Settings
	ProductLocks bool `help:"Also take a Redis lock for each product."`
}

// Run serves until the process is stopped.
func (u unbatchedCommand) Run(ctx context.Context, streams Streams) error {
	if u.Roles.Worker || u.Roles.Realtime {
		return usageError{errors.New("an unbatched server only takes orders: start it with --roles api")}
	}
	if u.ProductLocks && u.Redis == (config.URL{}) {
		return usageError{errors.New("--product-locks needs --redis")}
	}
	locks := app.UnbatchedRows
	if u.ProductLocks {
		locks = app.UnbatchedLocks
	}
	return serveCommand{u.Settings}.run(ctx, streams, locks)
}

// noopCommand is the server that bench --ceiling measures.
type noopCommand struct {
	Listen string `default:"127.0.0.1:0" help:"Listen address (default: ${default})."`
}

// Run serves the no-op handler until the process is stopped.
func (n noopCommand) Run(ctx context.Context, streams Streams) error {
	return app.ServeHandler(ctx, n.Listen, bench.NoopHandler(), func(url string) error {
		_, err := fmt.Fprintf(streams.Out, readyLine+"\n", streams.Version, url)
		return err
	})
}
