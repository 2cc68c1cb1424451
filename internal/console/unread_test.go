package console

import (
	"regexp"
	"testing"
	"testing/synctest"

	"orderflow/internal/web"
	"orderflow/test/env"
)

// A client that does not read its responses costs a bounded amount of memory, for every path that needs no log-in.
func TestUnreadAnswersAreBounded(t *testing.T) {
	const clients, bound = 100, 64 << 10 // bytes for a connection
	paths := []string{"/console/login", "/console/", "/console/nothing", "/console/orders"}
	paths = append(paths, regexp.MustCompile(`/console/assets/[^"]+`).FindAllString(open(t).do(t, "GET", "/console/login", "").body, -1)...)
	if len(paths) < 8 {
		t.Fatalf("the log-in page has too few assets: %q", paths)
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := open(t)
				h.do(t, "GET", path, "") // fills the caches
				unread := env.ServePipes(t, web.NewServer(h.api, web.Limits{})).Unread(t, clients, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n", nil)
				if unread.Held > bound {
					t.Errorf("an unread response holds %d bytes, the limit is %d", unread.Held, bound)
				}
			})
		})
	}
}
