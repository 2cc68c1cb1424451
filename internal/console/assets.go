package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"

	"orderflow/internal/web"
)

// assetFiles are libraries, compressed as assets/README.md describes, and our own scripts and styles.
//
//go:embed assets/*.gz assets/*.js assets/*.css assets/*.svg
var assetFiles embed.FS

// asset is a file that pages load.
type asset struct {
	href, kind string
	file       *web.File
}

// assets has all of them. An address contains the hash of the content, so browsers may cache it for ever.
type assets struct {
	byName, byHref map[string]*asset
}

// loadAssets reads the embedded files.
func loadAssets() (*assets, error) {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, err
	}
	a := &assets{byName: map[string]*asset{}, byHref: map[string]*asset{}}
	for _, entry := range entries {
		content, err := assetFiles.ReadFile("assets/" + entry.Name())
		if err != nil {
			return nil, err
		}
		name, gzipped := strings.CutSuffix(entry.Name(), ".gz")
		sum := sha256.Sum256(content)
		one := &asset{kind: kindOf(name), href: Prefix + "/assets/" + hex.EncodeToString(sum[:8]) + "/" + name, file: web.NewFile(content, gzipped)}
		a.byName[name], a.byHref[one.href] = one, one
	}
	return a, nil
}

// kindOf returns the media type of a file.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	default:
		return "image/svg+xml"
	}
}

// href returns the address of an asset, for templates.
func (a *assets) href(name string) (string, error) {
	if one := a.byName[name]; one != nil {
		return one.href, nil
	}
	return "", fmt.Errorf("there is no asset %q", name)
}

// serve answers with an asset. During an upgrade of several nodes a page of one version may request assets from a node of another.
// That node then answers with its own file, which browsers must not cache under the other version's address.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	one, caching := a.byHref[r.URL.Path], "public, max-age=31536000, immutable"
	if one == nil {
		one, caching = a.byName[r.PathValue("name")], "no-store"
	}
	if one == nil {
		http.Error(w, "This file does not exist.", http.StatusNotFound)
		return
	}
	gzipped := web.AcceptsGzip(r.Header.Get("Accept-Encoding"))
	content, err := one.file.Content(gzipped)
	if err != nil {
		http.Error(w, "The file is damaged.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", one.kind)
	h.Set("Cache-Control", caching)
	h.Add("Vary", "Accept-Encoding")
	if gzipped {
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(content) //nolint:gosec // an embedded file; an error means that the browser has closed the connection
}
