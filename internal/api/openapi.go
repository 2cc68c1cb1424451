package api

import (
	"crypto/sha256"
	_ "embed" // for the files of docs
	"encoding/hex"
	"net/http"
	"strings"

	"orderflow/internal/web"
)

var (
	//go:embed docs/openapi.json
	openAPI []byte
	//go:embed docs/index.html
	docsPage []byte
	//go:embed docs/rapidoc-min.js.gz
	docsViewer []byte // gzipped; docs/README.md says what it is and where it comes from
)

// docsPolicy is the Content-Security-Policy of the docs page. The viewer writes style elements into its shadow tree,
// and shows its icons from data addresses; it fetches the document and, when asked to try a request out, the API.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// page is the docs page's parts with what is computed of them once.
type page struct {
	documentTag, viewerTag string // entity tags; the viewer's is weak, as it stands for the plain and the gzipped form
	viewer                 *web.File
}

func newPage() page {
	return page{documentTag: entityTag(openAPI), viewerTag: "W/" + entityTag(docsViewer), viewer: web.NewFile(docsViewer, true)}
}

func entityTag(content []byte) string { return `"` + sha256Hex(content)[:32] + `"` }

func sha256Hex(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// document answers with the OpenAPI document.
func (a *API) document(x *requestContext) error {
	h := x.Header()
	h["Cache-Control"] = []string{"no-cache"}
	if x.unchanged(a.page.documentTag) {
		return nil
	}
	h["Content-Type"] = a.fixed.json
	x.send(http.StatusOK, openAPI)
	return nil
}

// docs answers with the page that shows the document to people.
func (a *API) docs(x *requestContext) error {
	h := x.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docsPolicy)
	x.send(http.StatusOK, docsPage)
	return nil
}

// docsScript answers with the viewer that the page runs, gzipped as it is embedded or, for the rare client that does
// not take that, plain.
func (a *API) docsScript(x *requestContext) error {
	h := x.Header()
	h["Cache-Control"] = []string{"public, max-age=3600"}
	h.Add("Vary", "Accept-Encoding")
	if x.unchanged(a.page.viewerTag) {
		return nil
	}
	gzipped := web.AcceptsGzip(x.r.Header.Get("Accept-Encoding"))
	content, err := a.page.viewer.Content(gzipped)
	if err != nil {
		return err
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	if gzipped {
		h.Set("Content-Encoding", "gzip")
	}
	x.send(http.StatusOK, content)
	return nil
}

// unchanged sets the entity tag, and answers 304 when the caller has what it names already.
func (x *requestContext) unchanged(tag string) bool {
	x.Header()["Etag"] = []string{tag}
	if !anyTag(x.r.Header["If-None-Match"], tag) {
		return false
	}
	x.WriteHeader(http.StatusNotModified)
	return true
}

// anyTag reports whether If-None-Match headers name an entity tag, or any by *. The comparison is the weak one of RFC 9110,
// section 8.8.3.2: W/ does not count. It ends at the first malformed member of a list.
func anyTag(headers []string, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	rest := strings.Join(headers, ",")
	if strings.Trim(rest, " \t") == "*" {
		return true
	}
	for {
		rest = strings.TrimPrefix(strings.TrimLeft(rest, " \t,"), "W/")
		opened, found := strings.CutPrefix(rest, `"`)
		name, after, closed := strings.Cut(opened, `"`)
		if !found || !closed {
			return false
		}
		if tag == `"`+name+`"` {
			return true
		}
		rest = after
	}
}
