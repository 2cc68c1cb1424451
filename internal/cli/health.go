package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

type healthCommand struct {
	URL string `help:"Address of the server (default: ${default})." default:"http://127.0.0.1:8000" placeholder:"URL"`
}

// Run exits with 0 when the server is ready.
func (h healthCommand) Run(ctx context.Context, streams Streams) error {
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
	defer func() { _ = response.Body.Close() }() // only the status is used
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not ready (status %d)", response.StatusCode)
	}
	_, err = fmt.Fprintln(streams.Out, "ready")
	return err
}

// serverURL parses the --url of a command.
func serverURL(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("--url: %q is not the address of a server, such as http://127.0.0.1:8000", text)
	}
	return base, nil
}
