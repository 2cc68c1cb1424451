package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// documented loads the OpenAPI document; its own rules and its examples hold.
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

// Every route is documented, and every documented operation is a route.
func TestRoutesAreDocumented(t *testing.T) {
	a := New(Options{Registerer: prometheus.NewRegistry(), Logger: discard(), Metrics: http.NotFoundHandler(), SignChannel: func(string, string) string { return "" }})
	var routed []string
	for _, r := range append(a.table(), a.rootTable()...) {
		routed = append(routed, r.method+" "+r.path)
	}
	var written []string
	for path, item := range documented(t).Paths.Map() {
		for method := range item.Operations() {
			written = append(written, method+" "+path)
		}
	}
	slices.Sort(routed)
	slices.Sort(written)
	if !slices.Equal(routed, written) {
		t.Errorf("routes:\n%s\ndocumented:\n%s", strings.Join(routed, "\n"), strings.Join(written, "\n"))
	}
}

// Every code has a status, and the document says so; it knows no others.
func TestCodes(t *testing.T) {
	schema := documented(t).Components.Schemas["ErrorCode"].Value
	listed := map[order.Code]bool{}
	for _, code := range schema.Enum {
		listed[order.Code(code.(string))] = true
	}
	for _, code := range order.Codes() {
		status := statusOf(code)
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
	if statusOf("no_such_code") != 0 {
		t.Error("an unknown code has a status")
	}
}

// The docs page's viewer is the file that its README says it is.
func TestViewerChecksum(t *testing.T) {
	plain, err := gunzip(docsViewer)
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
