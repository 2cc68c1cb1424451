package web_test

import (
	"testing"

	"orderflow/internal/web"
)

// The API's own pages connect to the WebSocket server at another port of their host, whatever the list contains.
func TestOriginsOfWebSockets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		origin, host, apiPort string
		want                  bool
	}{
		{"http://127.0.0.1:8000", "127.0.0.1:8080", "8000", true},
		{"http://[::1]:8000", "[::1]:8080", "8000", true},
		{"https://api.example", "api.example", "8000", true}, // through a proxy
		{"https://shop.example", "api.example", "8000", true},
		{"http://127.0.0.1:3000", "127.0.0.1:8080", "8000", false},
		{"http://localhost:8000", "127.0.0.1:8080", "8000", false},
		{"http://evil.example:8000", "api.example:8080", "8000", false},
		{"http://127.0.0.1:8000", "127.0.0.1:8080", "", false},
		{"null", "127.0.0.1:8080", "8000", false},
	} {
		origins := web.NewOrigins([]string{"https://shop.example"})
		origins.APIPort = c.apiPort
		if got := origins.Permit(c.origin, c.host); got != c.want {
			t.Errorf("a page of %s at %s with the API on port %q: permitted %t, want %t", c.origin, c.host, c.apiPort, got, c.want)
		}
	}
}
