package web_test

import (
	"net/http"
	"net/netip"
	"testing"

	"orderflow/internal/web"
)

func TestClientKey(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}
	for name, c := range map[string]struct {
		from      string
		forwarded []string
		want      string
	}{
		"a direct connection":              {"203.0.113.9:4711", nil, "203.0.113.9"},
		"a forged header":                  {"203.0.113.9:4711", []string{"198.51.100.1"}, "203.0.113.9"},
		"IPv6":                             {"[2001:db8:1:2:3:4:5:6]:4711", nil, "2001:db8:1:2::/64"},
		"IPv4 in IPv6":                     {"[::ffff:203.0.113.9]:4711", nil, "203.0.113.9"},
		"a link-local address with a zone": {"[fe80::1%eth0]:4711", nil, "fe80::/64"},
		"a Unix socket":                    {"@", nil, "unknown"},
		"a proxy":                          {"10.0.0.1:4711", []string{"203.0.113.9"}, "203.0.113.9"},
		"a proxy after a forged address":   {"10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                      {"10.0.0.1:4711", []string{"198.51.100.1, 203.0.113.9,10.0.0.2"}, "203.0.113.9"},
		"two headers":                      {"10.0.0.1:4711", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		"only proxies":                     {"10.0.0.1:4711", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"a port":                           {"10.0.0.1:4711", []string{"203.0.113.9:80"}, "203.0.113.9"},
		"IPv6 with a port":                 {"[2001:db8:ffff::1]:4711", []string{"[2001:db8::9]:80"}, "2001:db8::/64"},
		"IPv6 in brackets":                 {"10.0.0.1:4711", []string{"[2001:db8::9]"}, "2001:db8::/64"},
		"no address":                       {"10.0.0.1:4711", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		"an empty header":                  {"10.0.0.1:4711", []string{""}, "10.0.0.1"},
		"a proxy without the header":       {"10.0.0.1:4711", nil, "10.0.0.1"},
	} {
		r := &http.Request{RemoteAddr: c.from, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got, want := web.ClientKey("api:", web.ClientAddr(r, proxies)), "api:"+c.want; got != want {
			t.Errorf("%s: the key is %q, want %q", name, got, want)
		}
	}
}
