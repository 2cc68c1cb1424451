package web_test

import (
	"testing"

	"orderflow/internal/web"
)

func TestCleanPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/": true, "/a": true, "/a/": true, "/a/b.c": true, "/a/.b": true, "/a/..b": true,
		"": false, "a": false, "*": false, "//": false, "/a//b": false, "/a//": false, "/.": false, "/./": false, "/a/.": false, "/a/./b": false,
		"/..": false, "/a/..": false, "/a/../b": false,
	} {
		if got := web.CleanPath(path); got != want {
			t.Errorf("path %q: %t, want %t", path, got, want)
		}
	}
}
