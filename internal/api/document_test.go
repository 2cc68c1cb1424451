package api

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// Every path is complete, so that a generated client finds each operation at the one server of the document.
func TestDocumentHasOneServer(t *testing.T) {
	doc := documented(t)
	if len(doc.Servers) != 1 || doc.Servers[0].URL != "/" {
		t.Errorf("the servers of the document are %v, want / alone", doc.Servers)
	}
	for path, item := range doc.Paths.Map() {
		if len(item.Servers) > 0 {
			t.Errorf("%s has servers of its own", path)
		}
		for method, operation := range item.Operations() {
			if operation.Servers != nil {
				t.Errorf("%s %s has servers of its own", method, path)
			}
		}
	}
}

// Every answer documents its trace id, and every answer of a route with a rate limit documents the headers of the limit.
func TestDocumentedAnswers(t *testing.T) {
	a, doc := allRoutes(t), documented(t)
	for _, table := range []struct {
		prefix string
		routes []route
	}{{prefixes()[0], a.table()}, {"", slices.Concat(a.rootTable(), a.channelTable())}} {
		for _, r := range table.routes {
			path := table.prefix + strings.TrimSuffix(r.path, "{$}")
			answers := doc.Paths.Value(path).GetOperation(r.method).Responses
			for _, status := range []string{"400", "405", "431"} {
				if answers.Value(status) == nil {
					t.Errorf("%s %s: the answer %s is not documented", r.method, path, status)
				}
			}
			for status, answer := range answers.Map() {
				headers := []string{"X-Trace-Id"}
				if !r.exempt && !beforeRoutes(status, answer) {
					headers = append(headers, "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
				}
				for _, name := range headers {
					if answer.Value.Headers[name] == nil {
						t.Errorf("%s %s: the answer %s lacks the header %s", r.method, path, status, name)
					}
				}
			}
		}
	}
}

// beforeRoutes reports whether an answer is sent before the route is known, and so before its rate limit counts.
func beforeRoutes(status string, answer *openapi3.ResponseRef) bool {
	return status == "431" || strings.HasSuffix(answer.Ref, "/MalformedRequest")
}

// Generators need the type of a constant, and a discriminator between the errors of one status.
func TestDocumentSuitsGenerators(t *testing.T) {
	doc := documented(t)
	typed := func(where string, schema *openapi3.Schema) {
		if schema.Const != nil && schema.Type == nil {
			t.Errorf("%s is a constant without a type", where)
		}
	}
	for name, schema := range doc.Components.Schemas {
		for property, s := range schema.Value.Properties {
			typed(name+"."+property, s.Value)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status, answer := range operation.Responses.Map() {
				where := method + " " + path + " " + status
				for name, header := range answer.Value.Headers {
					typed(where+" "+name, header.Value.Schema.Value)
				}
				if content := answer.Value.Content["application/json"]; content != nil {
					checkDiscriminator(t, where, content.Schema.Value)
				}
			}
		}
	}
}

// Generators create a type for each schema and each response, all in one namespace.
func TestComponentNamesAreUnique(t *testing.T) {
	components := documented(t).Components
	for name := range components.Responses {
		if components.Schemas[name] != nil {
			t.Errorf("%s is the name of a schema and of a response", name)
		}
	}
}

// Linters of OpenAPI require a description of each operation and tag.
func TestDocumentIsDescribed(t *testing.T) {
	doc := documented(t)
	if doc.Info.License == nil || doc.Info.Contact == nil {
		t.Error("the document names no license or no contact")
	}
	for _, tag := range doc.Tags {
		if tag.Description == "" {
			t.Errorf("the tag %s has no description", tag.Name)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			if operation.Description == "" || operation.Summary == "" {
				t.Errorf("%s %s has no description or no summary", method, path)
			}
		}
	}
}

// checkDiscriminator compares the mapping of a choice between errors with the codes of its schemas.
func checkDiscriminator(t *testing.T, where string, schema *openapi3.Schema) {
	t.Helper()
	if len(schema.OneOf) == 0 {
		return
	}
	want := map[string]string{}
	for _, choice := range schema.OneOf {
		code, _ := choice.Value.Properties["error"].Value.Const.(string)
		want[code] = choice.Ref
	}
	if schema.Discriminator == nil || schema.Discriminator.PropertyName != "error" {
		t.Errorf("%s: the choice has no discriminator", where)
		return
	}
	have := map[string]string{}
	for code, ref := range schema.Discriminator.Mapping {
		have[code] = ref.Ref
	}
	if !maps.Equal(have, want) {
		t.Errorf("%s: the discriminator maps %v, want %v", where, have, want)
	}
}
