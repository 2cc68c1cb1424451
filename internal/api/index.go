package api

import (
	"cmp"
	"net/http"
	"strings"
)

// indexJSON is the answer of the address "/" to a program.
type indexJSON struct {
	Name    string `json:"name"`
	API     string `json:"api"`
	Health  string `json:"health"`
	Docs    string `json:"docs"`
	OpenAPI string `json:"openapi"`
	Console string `json:"console,omitempty"`
}

// index answers the address "/": it redirects a browser to the console or, in a process without a console, to the documentation. A
// program gets the addresses as JSON.
func (a *API) index(rc *requestContext) error {
	rc.Header().Add("Vary", "Accept")
	if strings.Contains(rc.r.Header.Get("Accept"), "text/html") {
		rc.Header().Set("Location", cmp.Or(a.mounted, "/docs"))
		rc.WriteHeader(http.StatusSeeOther)
		return nil
	}
	api := prefixes()[0]
	return rc.value(http.StatusOK, data[indexJSON]{indexJSON{"orderflow", api, api + "/health", "/docs", "/openapi.json", a.mounted}})
}
