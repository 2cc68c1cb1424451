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

// document is the OpenAPI document, made stricter for tests: an object may have no property that is not documented.
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
			shut(schema.Value, map[*openapi3.Schema]bool{})
		}
	}
	return doc, nil
})

// shut forbids undocumented properties in a schema and all below it.
func shut(schema *openapi3.Schema, seen map[*openapi3.Schema]bool) {
	if schema == nil || seen[schema] {
		return
	}
	seen[schema] = true
	if schema.Properties != nil && schema.AdditionalProperties.Schema == nil {
		no := false
		schema.AdditionalProperties.Has = &no
	}
	for _, p := range schema.Properties {
		shut(p.Value, seen)
	}
	if schema.Items != nil {
		shut(schema.Items.Value, seen)
	}
}

// operation finds what the document says about a request: nil when it knows no such path or method.
func operation(doc *openapi3.T, r *http.Request) *openapi3filter.RequestValidationInput {
	path := r.URL.Path
	for _, prefix := range []string{"/api/v1", "/api"} {
		if rest, ok := strings.CutPrefix(path, prefix+"/"); ok {
			path = "/" + rest
			break
		}
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for template, item := range doc.Paths.Map() {
		if variables, ok := match(template, path); ok && item.GetOperation(method) != nil {
			return &openapi3filter.RequestValidationInput{
				Request: r, PathParams: variables,
				Route:   &routers.Route{Spec: doc, Path: template, PathItem: item, Method: method, Operation: item.GetOperation(method)},
				Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
			}
		}
	}
	return nil
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

// conforms holds a request and its answer against the document. A request that the document forbids must not have been
// taken, and one that it allows must not have been called malformed.
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
}

// headerKeyed is a request whose key stands in the header: kin-openapi wants headers of a simple style.
func headerKeyed(r *http.Request) bool { return r.Header.Get("Idempotency-Key") != "" }
