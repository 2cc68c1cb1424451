package web

import (
	"net/url"
	"slices"
	"strings"

	"orderflow/internal/order"
)

// MaxParameters is the number of parameters that a query string may have. It bounds the work and the size of a refusal. The console sends
// the most: the 50 ids of a page.
const MaxParameters = 64

// Parameter is a parameter of the query string of a URL path.
type Parameter struct {
	Name  string
	Empty bool // an empty value has a meaning; otherwise it counts as absent
	Many  bool // it may be repeated
}

// Query parses the query string of an address with these parameters. It returns the values by name, and a validation error
// by name for each unknown or repeated parameter. An unknown parameter must not be ignored: a request with a mistyped filter would get
// every row. The name "query" stands for the whole string.
func Query(raw string, allowed ...Parameter) (url.Values, order.ValidationErrors) {
	if raw == "" {
		return nil, nil
	}
	if strings.Count(raw, "&") >= MaxParameters {
		return nil, order.ValidationErrors{"query": {"has too many parameters"}}
	}
	given, err := url.ParseQuery(raw)
	if err != nil {
		return nil, order.ValidationErrors{"query": {"is not a well-formed query string"}}
	}
	values, invalid := url.Values{}, order.ValidationErrors{}
	for name, all := range given {
		at := slices.IndexFunc(allowed, func(p Parameter) bool { return p.Name == name })
		switch {
		case at < 0 && name == "":
			invalid["query"] = []string{"has a parameter without a name"}
		case at < 0:
			invalid[name] = []string{"is not a parameter of this address, which takes " + list(allowed)}
		case len(all) > 1 && !allowed[at].Many:
			invalid[name] = []string{"must be given once"}
		case allowed[at].Empty || slices.ContainsFunc(all, func(value string) bool { return value != "" }):
			values[name] = all
		}
	}
	if len(invalid) == 0 {
		return values, nil
	}
	return values, invalid
}

// list returns the names of parameters for a message.
func list(parameters []Parameter) string {
	if len(parameters) == 0 {
		return "none"
	}
	names := make([]string, len(parameters))
	for i := range parameters {
		names[i] = parameters[i].Name
	}
	return strings.Join(names, ", ")
}
