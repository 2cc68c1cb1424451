package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"orderflow/internal/order"
)

// InProcess returns the product's HTTP API as who calls it from within the process, without a network and a rate limit: what the
// pages do is what the API does. It is api.API.InProcess.
type InProcess func(who order.Caller) http.Handler

// answer is what the API answered, as an http.ResponseWriter for one goroutine.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// ask has the API do something and reads what it answers into reply, unless that is nil. body becomes the request's JSON; nil
// for none. The error is the API's own, with its code, message and fields.
func (in InProcess) ask(ctx context.Context, who order.Caller, trace, method, path string, body, reply any) (status int, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, fmt.Errorf("console: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("console: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	if trace != "" {
		r.Header.Set("X-Trace-Id", trace)
	}
	a := &answer{header: http.Header{}}
	in(who).ServeHTTP(a, r)
	switch { // what was answered stands, also when ctx has ended since
	case a.status == 0:
		return a.status, cmp.Or(ctx.Err(), errNoAnswer)
	case a.status >= http.StatusBadRequest:
		return a.status, fault(a.body.Bytes())
	}
	if reply == nil {
		return a.status, nil
	}
	if err := json.Unmarshal(a.body.Bytes(), reply); err != nil {
		return a.status, fmt.Errorf("console: the API's answer to %s %s: %w", method, path, err)
	}
	return a.status, nil
}

var errNoAnswer = errors.New("console: the API did not answer")

// fault is the error in an answer of the API.
func fault(body []byte) error {
	var said struct {
		Error   order.Code
		Message string
		Errors  map[string][]string
	}
	if err := json.Unmarshal(body, &said); err != nil || said.Error == "" {
		return fmt.Errorf("console: the API's answer is none: %.200q", body)
	}
	return &order.Error{Code: said.Error, Message: said.Message, Fields: said.Errors}
}
