package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// assetFiles are libraries, gzipped as assets/README.md says, and our own scripts and style sheet as they are.
//
//go:embed assets/*.gz assets/*.js assets/*.css assets/*.svg
var assetFiles embed.FS

// asset is one file that pages load.
type asset struct {
	href, kind string
	forms      func() (forms, error) // made when a browser first asks: most servers are never asked
}

// forms are an asset as it is and compressed.
type forms struct{ plain, packed []byte }

// assets are all of them. An address holds the content's hash, so browsers may keep it for ever.
type assets struct {
	byName, byHref map[string]*asset
}

// loadAssets reads the embedded files, of which some are compressed.
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
		name, packed := strings.CutSuffix(entry.Name(), ".gz")
		sum := sha256.Sum256(content)
		one := &asset{kind: kindOf(name), href: Prefix + "/assets/" + hex.EncodeToString(sum[:8]) + "/" + name}
		one.forms = sync.OnceValues(func() (f forms, err error) {
			f = forms{plain: content, packed: content}
			if packed {
				f.plain, err = unpack(content)
			} else {
				f.packed, err = pack(content)
			}
			return f, err
		})
		a.byName[name], a.byHref[one.href] = one, one
	}
	return a, nil
}

// kindOf is the media type of a file by its name.
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

func unpack(packed []byte) (plain []byte, err error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	return io.ReadAll(reader)
}

func pack(plain []byte) ([]byte, error) {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, err := writer.Write(plain)
	err = errors.Join(err, writer.Close()) // before its bytes are looked at
	return out.Bytes(), err
}

// href is the address of an asset, for templates.
func (a *assets) href(name string) (string, error) {
	if one := a.byName[name]; one != nil {
		return one.href, nil
	}
	return "", fmt.Errorf("there is no asset %q", name)
}

// serve answers with an asset. While several nodes are upgraded, a page of one version may ask a node of another one: an address of
// another version is answered with the file as it is here, which nobody is to keep under that address.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	one, keep := a.byHref[r.URL.Path], "public, max-age=31536000, immutable"
	if one == nil {
		one, keep = a.byName[r.PathValue("name")], "no-store"
	}
	if one == nil {
		http.Error(w, "There is no such file.", http.StatusNotFound)
		return
	}
	made, err := one.forms()
	if err != nil {
		http.Error(w, "The file is damaged.", http.StatusInternalServerError)
		return
	}
	h, content := w.Header(), made.plain
	h.Set("Content-Type", one.kind)
	h.Set("Cache-Control", keep)
	h.Add("Vary", "Accept-Encoding")
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		content = made.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(content) // a browser that is gone has nobody to tell
}

// acceptsGzip reports whether an Accept-Encoding header names gzip without refusing it.
func acceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, parameter, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(parameter, " ", "")
			return q != "q=0" && strings.TrimRight(q, "0") != "q=0."
		}
	}
	return false
}
