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

// recorder records a response of the API. It implements http.ResponseWriter for one goroutine.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// call sends a request to the API with body as JSON, nil for none, and decodes the response into reply, unless reply is nil. The
// error is the API's own, with its code, message and fields.
func (in InProcess) call(ctx context.Context, caller order.Caller, trace, method, path string, body, reply any) (status int, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return 0, fmt.Errorf("console: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("console: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if trace != "" {
		request.Header.Set("X-Trace-Id", trace)
	}
	response := &recorder{header: http.Header{}}
	in(caller).ServeHTTP(response, request)
	switch { // a response is used even if ctx has ended since
	case response.status == 0:
		return response.status, cmp.Or(ctx.Err(), errNoResponse)
	case response.status >= http.StatusBadRequest:
		return response.status, apiError(response.body.Bytes())
	}
	if reply == nil {
		return response.status, nil
	}
	if err := json.Unmarshal(response.body.Bytes(), reply); err != nil {
		return response.status, fmt.Errorf("console: decode the API's response to %s %s: %w", method, path, err)
	}
	return response.status, nil
}

var errNoResponse = errors.New("console: the API did not respond")

// apiError returns the error in a response of the API.
func apiError(body []byte) error {
	var response struct {
		Error   order.Code
		Message string
		Errors  map[string][]string
	}
	if err := json.Unmarshal(body, &response); err != nil || response.Error == "" {
		return fmt.Errorf("console: unexpected error response of the API: %.200q", body)
	}
	return &order.Error{Code: response.Error, Message: response.Message, Fields: response.Errors}
}

// asError returns err with a code and a message for the page.
func asError(err error) *order.Error {
	if coded, ok := errors.AsType[*order.Error](err); ok {
		return coded
	}
	return order.Errorf(order.CodeUnavailable, "No response: %v.", err)
}

// call sends a request to the API on behalf of the session. path stands below the API's prefix. The error is the API's.
func (rc *requestContext) call(method, path string, body, reply any) error {
	_, err := rc.console.options.InProcess.call(rc.r.Context(), rc.session.apiCaller(), rc.trace, method, "/api/v1"+path, body, reply)
	return err
}

// authorizeChannel signs a private channel for the page's WebSocket client. The API decides; the call is made in the process since
// pages are exempt from the rate limit.
func (c *Console) authorizeChannel(rc *requestContext) (any, error) {
	r := rc.r.Clone(rc.r.Context())
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = "/broadcasting/auth", "", ""
	r.Header.Set("X-Trace-Id", rc.trace)
	c.options.InProcess(rc.session.apiCaller()).ServeHTTP(rc.w, r)
	return nil, errResponded
}
