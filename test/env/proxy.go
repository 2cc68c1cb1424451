package env

import (
	"net/url"
	"testing"

	"orderflow/test/servers"
)

// Proxy starts a proxy in front of the server at an address with one host (mysql://…, redis://…), and returns it with the address
// through it. It ends with the test.
func Proxy(t testing.TB, address string) (proxy *servers.Proxy, proxied string) {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err = servers.NewProxy(parsed.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	return proxy, via(parsed, proxy.Addr())
}

// via returns an address with another host.
func via(address *url.URL, host string) string {
	other := *address
	other.Host = host
	return other.String()
}
