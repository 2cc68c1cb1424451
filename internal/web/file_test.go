package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"orderflow/internal/web"
)

func gunzip(t *testing.T, packed []byte) string {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// Both forms of a file have the same content, and all requests share one copy of each.
func TestFile(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a script ", 1000)
	plainFile := web.NewFile([]byte(text), false)
	packed, err := plainFile.Content(true)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]*web.File{"embedded plain": plainFile, "embedded gzipped": web.NewFile(packed, true)} {
		for _, gzipped := range []bool{true, false} {
			content, err := file.Content(gzipped)
			if err != nil {
				t.Errorf("%s, gzipped %t: %v", name, gzipped, err)
				continue
			}
			got := string(content)
			if gzipped {
				got = gunzip(t, content)
			}
			if got != text {
				t.Errorf("%s, gzipped %t: %d bytes differ from the file", name, gzipped, len(got))
			}
			again, _ := file.Content(gzipped)
			if &again[0] != &content[0] {
				t.Errorf("%s, gzipped %t: a second request got a copy of its own", name, gzipped)
			}
		}
	}
}

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"gzip": true, "br, gzip;q=0.5": true, "GZIP": true, "gzip; q=1.0": true, "": false, "br": false, "gzip;q=0": false, "gzip; q=0.00": false,
	} {
		if got := web.AcceptsGzip(header); got != want {
			t.Errorf("Accept-Encoding %q: %t, want %t", header, got, want)
		}
	}
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	if _, err := web.NewFile([]byte("no gzip"), true).Content(false); err == nil {
		t.Error("a damaged file was unpacked")
	}
}
