package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"orderflow/internal/api"
)

// The documentation page fills its fields with the examples and defaults of the document. A request with these alone is accepted, and
// has a new trace id.
func TestDocumentedExamplesAreAccepted(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for name, body := range bodies(t, operation) {
				t.Run(fmt.Sprintf("%s %s %s", method, path, name), func(t *testing.T) {
					t.Parallel()
					registry := prometheus.NewRegistry()
					n := open(t, withAuth(false, nil), func(o *api.Options) { o.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{}) })
					n.place(t, "7001", 2, 2) // order 1
					target, headers := filled(path, append(item.Parameters, operation.Parameters...))
					a := n.do(t, method, target, body, append(headers, n.admin(t))...)
					missing := a.status == http.StatusNotFound && strings.Contains(path, "/failed-jobs/")
					if a.status >= 400 && !missing {
						t.Errorf("%s %s with %q was answered %d: %s", method, target, headers, a.status, a.body)
					}
					for _, h := range headers {
						if name, _, _ := strings.Cut(h, ": "); name == "X-Trace-Id" || name == "traceparent" {
							t.Errorf("every request of the page is sent with %s", h)
						}
					}
				})
			}
		}
	}
}

// bodies returns the JSON examples of an operation's body by name; an empty one for an operation without a body.
func bodies(t *testing.T, operation *openapi3.Operation) map[string]string {
	t.Helper()
	if operation.RequestBody == nil {
		return map[string]string{"": ""}
	}
	found := map[string]string{}
	for name, example := range operation.RequestBody.Value.Content["application/json"].Examples {
		body, err := json.Marshal(example.Value.Value)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(body)
	}
	return found
}

// filled returns a request's target and headers with the examples and defaults of its parameters.
func filled(path string, parameters openapi3.Parameters) (target string, headers []string) {
	query := url.Values{}
	for _, p := range parameters {
		value := p.Value.Example
		if value == nil {
			value = p.Value.Schema.Value.Default
		}
		switch {
		case p.Value.In == openapi3.ParameterInPath:
			path = strings.ReplaceAll(path, "{"+p.Value.Name+"}", fmt.Sprint(value))
		case value != nil && p.Value.In == openapi3.ParameterInQuery:
			query.Set(p.Value.Name, fmt.Sprint(value))
		case value != nil:
			headers = append(headers, p.Value.Name+": "+fmt.Sprint(value))
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path, headers
}

// The defaults of the document can be combined with a cursor.
func TestDefaultsWithACursor(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	target, _ := filled("/api/v1/orders", doc.Paths.Value("/api/v1/orders").Get.Parameters)
	open(t).do(t, "GET", target+"&cursor=", "").expect(t, http.StatusOK, []string{`"next_cursor":null`})
}

// The pattern of a price allows exactly the prices that the server accepts.
func TestPricePattern(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(doc.Components.Schemas["Price"].Value.Pattern)
	n := open(t, withAuth(false, nil))
	for _, price := range []string{
		"0.01", "0.1", "0.10", "1", "29.9", "29.97", "007.50", "00.05", "99999999.99", "0000099999999.99",
		"", "0", "0.0", "0.00", "000", "-1", "+1", "1.", ".5", "1.234", "0.001", "1e3", "1,5", " 1", "1 ", "100000000", "999999999", "1.2.3",
	} {
		body := fmt.Sprintf(`{"idempotency_key":"price %s","name":"Lamp","price":%q}`, price, price)
		a := n.do(t, "POST", "/api/v1/products", body, n.admin(t))
		if taken := a.status == http.StatusCreated; taken != pattern.MatchString(price) {
			t.Errorf("price %q: answered %d, but the pattern says %t", price, a.status, !taken)
		}
	}
}

// The links of the document lead from a new order, or product, to the operations on it.
func TestDocumentedLinks(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, body string
		follow     []string
	}{
		{"/api/v1/orders", fine, []string{"showOrder", "cancelOrder", "orderEvents"}},
		{"/api/v1/products", lamp, []string{"changeProduct", "restockProduct"}},
	} {
		n := open(t, withAuth(false, nil))
		admin := n.admin(t)
		created := n.do(t, "POST", c.path, c.body, admin)
		created.expect(t, http.StatusCreated, nil)
		links := map[string]*openapi3.Link{}
		for _, link := range doc.Paths.Value(c.path).Post.Responses.Value("201").Value.Links {
			links[link.Value.OperationID] = link.Value
		}
		for _, id := range c.follow {
			if links[id] == nil {
				t.Errorf("POST %s has no link to %s", c.path, id)
				continue
			}
			method, path, operation := named(t, doc, id)
			for name, value := range links[id].Parameters {
				path = strings.ReplaceAll(path, "{"+name+"}", evaluated(t, value, created))
			}
			for _, body := range bodies(t, operation) {
				if a := n.do(t, method, path, body, admin); a.status >= 400 {
					t.Errorf("POST %s: the link to %s leads to %s %s, which answers %d: %s", c.path, id, method, path, a.status, a.body)
				}
			}
		}
	}
}

// named returns an operation by its id.
func named(t *testing.T, doc *openapi3.T, id string) (method, path string, operation *openapi3.Operation) {
	t.Helper()
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			if operation.OperationID == id {
				return method, path, operation
			}
		}
	}
	t.Fatalf("there is no operation %s", id)
	return "", "", nil
}

// evaluated returns the value of a runtime expression, $response.body# with a JSON pointer, for an answer.
func evaluated(t *testing.T, expression any, a answer) string {
	t.Helper()
	pointer, ok := strings.CutPrefix(fmt.Sprint(expression), "$response.body#/")
	if !ok {
		t.Fatalf("%v does not name a part of the answer's body", expression)
	}
	var value any
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(pointer, "/") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return fmt.Sprint(value)
}
