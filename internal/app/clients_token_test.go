package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// authRequired sets --auth required.
func authRequired(set *config.Settings) { set.Auth = config.AuthRequired }

// token creates a token.
func (s *testServer) token(about app.Token) string {
	s.t.Helper()
	db := s.open()
	defer func() { _ = db.Close() }()
	token, _, err := db.NewToken(s.t.Context(), about, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// buyWith orders with a token and returns the id of the order.
func (s *testServer) buyWith(token string, user int64, key string) int64 {
	s.t.Helper()
	body := fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[{"product_id":1,"quantity":1}]}`, user, key)
	r := s.do(http.MethodPost, "/api/v1/orders", body, "Authorization: Bearer "+token)
	if r.status != http.StatusCreated {
		s.t.Fatalf("%+v", r)
	}
	return r.order().ID
}

// A token permits the channels of its user only, with --auth optional and required. An invalid token permits none, and with --auth required
// neither does a missing one. An admin token permits all.
func TestClientsWithTokens(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Settings){"optional": nil, "required": authRequired} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothClients(t, func(t *testing.T, program string) {
				s := serve(t, change)
				with := func(token string) *nodeClient {
					return s.startClient(program, func(o *nodeOptions) {
						switch {
						case token == "":
						case program == "echo.mjs":
							o.Options["bearerToken"] = token
						default:
							o.Headers["Authorization"] = "Bearer " + token
						}
					})
				}
				refused := func(c *nodeClient, channel string, status int) {
					t.Helper()
					c.do("subscribe", "channel", channel)
					c.awaitLine(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, fmt.Sprintf(`"status":%d`, status))
				}
				token := s.token(app.Token{UserID: 1})
				own := with(token)
				own.subscribe("private-orders.1")
				refused(own, "private-orders.2", 403)
				refused(own, "private-cache-orders.2", 403)
				admin := with(s.token(app.Token{Admin: true}))
				admin.subscribe("private-orders.1")
				admin.subscribe("private-orders.2")
				refused(with(strings.Repeat("x", len(token))), "private-orders.1", 401)
				if anonymous := with(""); name == "required" {
					refused(anonymous, "private-orders.1", 401)
					refused(anonymous, "private-cache-orders.1", 401)
				} else {
					anonymous.subscribe("private-orders.1")
				}
				id := s.buyWith(token, 1, "mine")
				for _, c := range []*nodeClient{own, admin} {
					if data := c.awaitEvent("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(id) {
						t.Errorf("received %v of order %d", data, id)
					}
				}
			})
		})
	}
}

// In a browser a page of another origin sends its token in a header of the request for a signature.
func TestBrowserWithATokenHearsOfAPaidOrder(t *testing.T) {
	t.Parallel()
	s, b := serve(t, authRequired), newBrowser(t)
	token := s.token(app.Token{UserID: 1})
	asks := "endpoint: api + '/broadcasting/auth"
	for script, listens := range map[string]bool{
		strings.Replace(pusherPage, asks, "headers: { Authorization: 'Bearer "+token+"' }, "+asks, 1): true,
		strings.Replace(echoPage, "authEndpoint:", "bearerToken: '"+token+"', authEndpoint:", 1):      true,
		strings.Replace(pusherPage, asks, asks+"?token="+token+"&access_token="+token, 1):             false,
		pusherPage: false,
	} {
		p := b.open(newPages(t), "localhost", s.script(script))
		if !listens {
			p.awaitLine("refused private-orders.1 401")
			continue
		}
		for range 2 {
			p.awaitLine("listens to")
		}
		id := s.buyWith(token, 1, fmt.Sprint(len(script)))
		p.awaitText(fmt.Sprintf("private-orders.1: order %d is PAID", id))
	}
}
