package api_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// document returns the OpenAPI document, stricter for tests: an object must not have an undocumented property.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	content, err := os.ReadFile("docs/openapi.json")
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(content)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	open := []string{"OrderRequest", "Line", "LogInRequest", "ChannelRequest", "ProductRequest", "ProductChange", "RestockRequest"} // unknown fields are ignored
	for name, schema := range doc.Components.Schemas {
		if !slices.Contains(open, name) {
			forbidOthers(schema.Value, map[*openapi3.Schema]bool{})
		}
	}
	return doc, nil
})

// forbidOthers forbids undocumented properties in a schema and all below it.
func forbidOthers(schema *openapi3.Schema, seen map[*openapi3.Schema]bool) {
	if schema == nil || seen[schema] {
		return
	}
	seen[schema] = true
	if schema.Properties != nil && schema.AdditionalProperties.Schema == nil {
		no := false
		schema.AdditionalProperties.Has = &no
	}
	for _, p := range schema.Properties {
		forbidOthers(p.Value, seen)
	}
	if schema.Items != nil {
		forbidOthers(schema.Items.Value, seen)
	}
}

// operation returns the operation of the document for a request; nil for an unknown path or method. All operations of an address refuse
// a method that it does not allow in the same way.
func operation(doc *openapi3.T, r *http.Request) *openapi3filter.RequestValidationInput {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	path := documentedPath(r.URL.Path)
	for template, item := range doc.Paths.Map() {
		variables, ok := match(template, path)
		if !ok {
			continue
		}
		described := item.GetOperation(method)
		for other, o := range item.Operations() {
			if described == nil && r.Method != http.MethodOptions {
				method, described = other, o
			}
		}
		if described != nil {
			return &openapi3filter.RequestValidationInput{
				Request: r, PathParams: variables,
				Route:   &routers.Route{Spec: doc, Path: template, PathItem: item, Method: method, Operation: described},
				Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
			}
		}
	}
	return nil
}

// documentedPath returns the address in the document for an alias of it.
func documentedPath(path string) string {
	if rest, ok := strings.CutPrefix(path, "/api/"); ok {
		path = "/api/v1/" + strings.TrimPrefix(rest, "v1/")
	}
	if path == "/api/v1/broadcasting/auth" {
		return "/broadcasting/auth"
	}
	return path
}

func match(template, path string) (variables map[string]string, ok bool) {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	variables = map[string]string{}
	for i, w := range want {
		if strings.HasPrefix(w, "{") {
			variables[strings.Trim(w, "{}")] = have[i]
		} else if w != have[i] {
			return nil, false
		}
	}
	return variables, true
}

// conforms checks a request and its answer against the document. A request that the document forbids must be refused, and a request
// that it allows must not be refused as malformed.
func conforms(t testing.TB, r *http.Request, a answer) {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	input := operation(doc, r)
	if input == nil || r.Method == http.MethodHead {
		return
	}
	requestErr := openapi3filter.ValidateRequest(t.Context(), input)
	if requestErr != nil && a.status < 400 && !headerKeyed(r) {
		t.Errorf("%s %s was answered %d, but the document forbids the request: %v", r.Method, r.URL, a.status, requestErr)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		input.Options.ExcludeResponseBody = true
	}
	err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header, Options: input.Options,
		Body: io.NopCloser(bytes.NewReader([]byte(a.body))),
	})
	if err != nil {
		t.Errorf("%s %s: the answer %d is not as documented: %v\n%s", r.Method, r.URL, a.status, err, a.body)
	}
	if described := input.Route.Operation.Responses.Status(a.status); described != nil {
		for name := range a.header {
			if !slices.Contains(common(), name) && !hasHeader(described.Value.Headers, name) {
				t.Errorf("%s %s: the answer %d has the header %s, which is not documented", r.Method, r.URL, a.status, name)
			}
		}
	}
}

// common are the headers of HTTP itself, of caches and of browsers, which the document omits.
func common() []string {
	return []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Cache-Control", "Connection", "Date", "Vary", "X-Accel-Buffering",
		"Content-Security-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy", "X-Content-Type-Options", "X-Frame-Options",
		"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
	}
}

func hasHeader(headers openapi3.Headers, name string) bool {
	for documented := range headers {
		if http.CanonicalHeaderKey(documented) == name {
			return true
		}
	}
	return false
}

// headerKeyed reports a request with its key in the header, for which kin-openapi requires a simple style.
func headerKeyed(r *http.Request) bool { return r.Header.Get("Idempotency-Key") != "" }
