package env

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"orderflow/test/servers"
)

// RedisRights returns the command of docs/operations/configure.md that creates a Redis user with only the permissions that the
// product needs.
func RedisRights(t testing.TB) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations/configure.md") // tests run in the folder of their package
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "ACL SETUSER orderflow ") {
			return strings.Fields(line)
		}
	}
	t.Fatal("docs/operations/configure.md has no ACL SETUSER")
	return nil
}

// RestrictedRedis starts a Redis for one test with the user of RedisRights, and returns that user's address and prefix.
func RestrictedRedis(t testing.TB) (server *servers.Server, address, prefix string) {
	t.Helper()
	server, err := servers.Redis(t.Context(), Folder(t))
	Started(t, server, err)
	Command(t, server.Addr(), RedisRights(t)...)
	return server, (&url.URL{Scheme: "redis", User: url.UserPassword("orderflow", "SECRET"), Host: server.Addr()}).String(), "shop:"
}
