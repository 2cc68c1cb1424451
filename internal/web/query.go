package web

import (
	"net/url"
	"slices"
	"strings"
)

// MaxParameters is how many parameters a query string may have. It bounds the work and the answer of a refusal. The console
// sends the most: the 50 ids of a page.
const MaxParameters = 64

// Parameter is a parameter that an address takes in its query string.
type Parameter struct {
	Name  string
	Empty bool // an empty value has a meaning; else it counts as absent
	Many  bool // it may be given more than once
}

// Query reads the query string of an address that takes these parameters. It returns the values by name, and the errors by
// name: of parameters that the address does not take, and of those given more often than they may be. An ignored parameter
// would silently return more rows: a mistyped filter returns everything. The name "query" stands for the whole string.
func Query(raw string, takes ...Parameter) (url.Values, map[string][]string) {
	if raw == "" {
		return nil, nil
	}
	if strings.Count(raw, "&") >= MaxParameters {
		return nil, map[string][]string{"query": {"has too many parameters"}}
	}
	given, err := url.ParseQuery(raw)
	if err != nil {
		return nil, map[string][]string{"query": {"is not a well-formed query string"}}
	}
	values, wrong := url.Values{}, map[string][]string{}
	for name, all := range given {
		at := slices.IndexFunc(takes, func(p Parameter) bool { return p.Name == name })
		switch {
		case at < 0 && name == "":
			wrong["query"] = []string{"has a parameter without a name"}
		case at < 0:
			wrong[name] = []string{"is not a parameter of this address, which takes " + list(takes)}
		case len(all) > 1 && !takes[at].Many:
			wrong[name] = []string{"must be given once"}
		case takes[at].Empty || slices.ContainsFunc(all, func(value string) bool { return value != "" }):
			values[name] = all
		}
	}
	if len(wrong) == 0 {
		return values, nil
	}
	return values, wrong
}

// list is the names of parameters as a message lists them.
func list(takes []Parameter) string {
	if len(takes) == 0 {
		return "none"
	}
	names := make([]string, len(takes))
	for i := range takes {
		names[i] = takes[i].Name
	}
	return strings.Join(names, ", ")
}
