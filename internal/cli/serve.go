package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

type serve struct {
	config.Settings
}

// gcPercent lets the heap grow to five times what lives in it before it is collected. Little lives in a server's heap
// and much passes through, so the default of 100 spends an eighth of the processor on collecting (see
// docs/performance.md). GOGC in the environment wins.
const gcPercent = 400

// Run serves until the process is told to stop.
func (s serve) Run(ctx context.Context, streams Streams) error {
	return s.run(ctx, streams, app.Batched)
}

func (s serve) run(ctx context.Context, streams Streams, takes app.Unbatched) error {
	defer app.SurviveBrokenPipes()()
	said := slices.ContainsFunc(streams.Environ, func(entry string) bool { return strings.HasPrefix(entry, "GOGC=") })
	if (s.Roles.API || s.Roles.Worker) && !said { // of WebSockets alone much lives in the heap, and is to stay small
		debug.SetGCPercent(gcPercent)
	}
	server, err := app.Start(ctx, s.Settings, app.Options{Version: streams.Version, Log: streams.Err, Text: s.text(streams), Unbatched: takes})
	if err != nil {
		return err
	}
	text := startMessage(streams.Version, server, s.Settings)
	// At once, so that who sees the first line sees all. Whoever started it may have closed the pipe: no reason not to serve.
	_, _ = io.WriteString(streams.Out, text)
	return server.Run(ctx)
}

// text says whether log lines are for people.
func (s serve) text(streams Streams) bool {
	if s.LogFormat != config.LogAuto {
		return s.LogFormat == config.LogText
	}
	return app.Terminal(streams.Err)
}

type health struct {
	URL string `help:"The server." default:"http://127.0.0.1:8000" placeholder:"URL"`
}

// Run asks a server whether it is ready.
func (h health) Run(ctx context.Context, streams Streams) error {
	base, err := serverURL(h.URL)
	if err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath("/readyz").String(), nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // only its status is of interest
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not ready (status %d)", response.StatusCode)
	}
	_, err = fmt.Fprintln(streams.Out, "ready")
	return err
}

// serverURL reads the --url of a verb.
func serverURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("--url: %q is not the address of a server, such as http://127.0.0.1:8000", text)
	}
	return base, nil
}
