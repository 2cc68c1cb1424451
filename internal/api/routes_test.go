package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/web"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// documented loads the OpenAPI document, and validates it with its examples.
func documented(t *testing.T) *openapi3.T {
	t.Helper()
	content, err := os.ReadFile("docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// allRoutes returns an API with every route and without the parts behind them.
func allRoutes(t *testing.T) *API {
	t.Helper()
	return New(Options{
		Registerer: prometheus.NewRegistry(), Logger: discard(), Metrics: http.NotFoundHandler(),
		Realtime: pusher.App{Secret: "secret"}, Intake: noIntake{},
	})
}

// Every route is documented, with its parameters, and every documented operation is a route.
func TestRoutesAreDocumented(t *testing.T) {
	a := allRoutes(t)
	var routed []string
	below := len(a.table())
	for i, r := range slices.Concat(a.table(), a.rootTable(), a.channelTable()) {
		line := r.method + " "
		if i < below {
			line += prefixes()[0]
		}
		line += strings.TrimSuffix(r.path, "{$}")
		for _, p := range r.query {
			line += " " + p.Name
		}
		routed = append(routed, line)
	}
	var written []string
	for path, item := range documented(t).Paths.Map() {
		for method, operation := range item.Operations() {
			line := method + " " + path
			for _, p := range operation.Parameters {
				if p.Value.In != openapi3.ParameterInQuery {
					continue
				}
				line += " " + p.Value.Name
				if !p.Value.AllowEmptyValue {
					t.Errorf("%s: the document does not allow an empty %s", line, p.Value.Name)
				}
			}
			written = append(written, line)
		}
	}
	slices.Sort(routed)
	slices.Sort(written)
	if !slices.Equal(routed, written) {
		t.Errorf("routes:\n%s\ndocumented:\n%s", strings.Join(routed, "\n"), strings.Join(written, "\n"))
	}
}

// noIntake is an Intake that gets no order.
type noIntake struct{ Intake }

func (noIntake) OrderRefused(error)  {}
func (noIntake) CancelRefused(error) {}

// A route refuses unknown and repeated parameters from every caller, before it does anything else. Outside of /api some routes ignore the
// query string.
func TestQueryStringsAreStrict(t *testing.T) {
	a := allRoutes(t)
	strict := func(r route, prefix, query, field string) {
		t.Helper()
		target := prefix + strings.ReplaceAll(r.path, "{id}", "1") + "?" + query
		recorder := httptest.NewRecorder()
		a.InProcess(order.Caller{Admin: true, TokenID: 1}).ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), r.method, target, http.NoBody))
		if got := recorder.Code; got != http.StatusUnprocessableEntity {
			t.Errorf("%s %s: status %d, want 422", r.method, target, got)
		}
		if body := recorder.Body.String(); !strings.Contains(body, `"`+field+`":["`) {
			t.Errorf("%s %s: the answer does not name %s: %s", r.method, target, field, body)
		}
	}
	ignoring := []string{"/{$}", "/livez", "/readyz", "/openapi.json", "/docs", "/docs/rapidoc.js", "/metrics"}
	for prefix, table := range map[string][]route{
		"/api": slices.Concat(a.table(), a.channelTable()), "/api/v1": slices.Concat(a.table(), a.channelTable()),
		"": slices.Concat(a.rootTable(), a.channelTable()),
	} {
		for _, r := range table {
			if r.anyQuery != slices.Contains(ignoring, prefix+r.path) {
				t.Errorf("%s %s%s: anyQuery is %t", r.method, prefix, r.path, r.anyQuery)
			}
			if r.anyQuery {
				continue
			}
			strict(r, prefix, "created_after=2026-01-01", "created_after")
			strict(r, prefix, "x", "x")
			strict(r, prefix, "a=%zz", "query")
			for _, p := range r.query {
				strict(r, prefix, p.Name+"=1&"+p.Name+"=1", p.Name)
			}
		}
	}
	for _, path := range ignoring[3:6] {
		recorder := httptest.NewRecorder()
		a.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path+"?v=1&v=%zz", http.NoBody))
		if recorder.Code != http.StatusOK {
			t.Errorf("%s with a query string: status %d, want 200", path, recorder.Code)
		}
	}
}

// Every code has a status, which the document lists; the document has no other codes.
func TestCodes(t *testing.T) {
	schema := documented(t).Components.Schemas["ErrorCode"].Value
	listed := map[order.Code]bool{}
	for _, code := range schema.Enum {
		listed[order.Code(code.(string))] = true
	}
	for _, code := range order.Codes() {
		status := web.StatusOf(code)
		if status == 0 {
			t.Errorf("%s has no status", code)
		}
		if !listed[code] {
			t.Errorf("%s is not in the document", code)
		}
		if row := fmt.Sprintf("| `%s` | %d |", code, status); !strings.Contains(schema.Description, row) {
			t.Errorf("the document's table lacks %s", row)
		}
		delete(listed, code)
	}
	if len(listed) > 0 {
		t.Errorf("the document has codes that do not exist: %v", listed)
	}
	if web.StatusOf("no_such_code") != 0 {
		t.Error("an unknown code has a status")
	}
}

// The embedded viewer is the file of docs/README.md.
func TestViewerChecksum(t *testing.T) {
	plain, err := newDocsFiles().viewer.Content(false)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256Hex(plain); !strings.Contains(string(readme), sum) {
		t.Errorf("docs/README.md does not name the SHA-256 of the viewer, %s", sum)
	}
	if !strings.Contains(string(plain), "RapiDoc 9.3.8") && !strings.Contains(string(readme), "RapiDoc 9.3.8") {
		t.Error("the viewer's version is not named")
	}
}
