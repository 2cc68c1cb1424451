package api

import (
	"net/http"
	"strings"

	"orderflow/internal/web"
)

// index answers the address "/": a browser is led to the console or, in a process without one, to the documentation; a program
// gets the addresses as JSON.
func (a *API) index(x *requestContext) error {
	x.Header().Add("Vary", "Accept")
	if strings.Contains(x.r.Header.Get("Accept"), "text/html") {
		target := "/docs"
		if a.mounted != "" {
			target = a.mounted
		}
		x.Header().Set("Location", target)
		x.WriteHeader(http.StatusSeeOther)
		return nil
	}
	api := prefixes()[0]
	x.out = append(x.out[:0], `{"data":{"name":"orderflow"`...)
	for _, entry := range []struct{ name, address string }{
		{"api", api}, {"health", api + "/health"}, {"docs", "/docs"}, {"openapi", "/openapi.json"}, {"console", a.mounted},
	} {
		if entry.address != "" {
			x.out = append(x.out, `,"`+entry.name+`":`...)
			x.out = web.AppendString(x.out, entry.address)
		}
	}
	x.out = append(x.out, '}', '}', '\n')
	x.json(http.StatusOK, x.out)
	return nil
}
