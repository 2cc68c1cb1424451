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
	docsViewer []byte // gzipped; docs/README.md has its version and source
)

// docsPolicy is the Content-Security-Policy of the documentation page. The viewer writes style elements into its shadow tree and
// shows icons from data addresses. It fetches the document and, when a reader tries a request, the API.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docsFiles are the embedded files of the documentation with their entity tags.
type docsFiles struct {
	documentTag, viewerTag string // the tag of the viewer is weak, since it stands for the plain and the gzipped form
	viewer                 *web.File
}

func newDocsFiles() docsFiles {
	return docsFiles{documentTag: entityTag(openAPI), viewerTag: "W/" + entityTag(docsViewer), viewer: web.NewFile(docsViewer, true)}
}

func entityTag(content []byte) string { return `"` + sha256Hex(content)[:32] + `"` }

func sha256Hex(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// document answers with the OpenAPI document.
func (a *API) document(rc *requestContext) error {
	h := rc.Header()
	h["Cache-Control"] = []string{"no-cache"}
	if rc.notModified(a.docsFiles.documentTag) {
		return nil
	}
	h["Content-Type"] = a.fixed.json
	rc.send(http.StatusOK, openAPI)
	return nil
}

// docs answers with the documentation page, which shows the document.
func (a *API) docs(rc *requestContext) error {
	h := rc.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", docsPolicy)
	rc.send(http.StatusOK, docsPage)
	return nil
}

// docsScript answers with the viewer that the page runs: gzipped as it is embedded, or plain for clients that do not accept gzip.
func (a *API) docsScript(rc *requestContext) error {
	h := rc.Header()
	h["Cache-Control"] = []string{"public, max-age=3600"}
	h.Add("Vary", "Accept-Encoding")
	if rc.notModified(a.docsFiles.viewerTag) {
		return nil
	}
	gzipped := web.AcceptsGzip(rc.r.Header.Get("Accept-Encoding"))
	content, err := a.docsFiles.viewer.Content(gzipped)
	if err != nil {
		return err
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	if gzipped {
		h.Set("Content-Encoding", "gzip")
	}
	rc.send(http.StatusOK, content)
	return nil
}

// notModified sets the entity tag, and answers 304 when the caller's copy has the same one.
func (rc *requestContext) notModified(tag string) bool {
	rc.Header()["Etag"] = []string{tag}
	if !matchesTag(rc.r.Header["If-None-Match"], tag) {
		return false
	}
	rc.WriteHeader(http.StatusNotModified)
	return true
}

// matchesTag reports whether If-None-Match headers contain an entity tag, or *. The comparison is the weak one of RFC 9110, section
// 8.8.3.2, which ignores W/. It ends at the first malformed member of a list.
func matchesTag(headers []string, tag string) bool {
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
