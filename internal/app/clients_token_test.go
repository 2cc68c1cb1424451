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

// authRequired lets nobody in without a token.
func authRequired(set *config.Settings) { set.Auth = config.AuthRequired }

// token makes a token, as operators do.
func (s *site) token(about app.Token) string {
	s.t.Helper()
	db := s.open()
	defer func() { _ = db.Close() }()
	token, _, err := db.NewToken(s.t.Context(), about, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// buyWith orders with a token and returns the order's id.
func (s *site) buyWith(token string, user int64, key string) int64 {
	s.t.Helper()
	body := fmt.Sprintf(`{"user_id":%d,"idempotency_key":%q,"items":[{"product_id":1,"quantity":1}]}`, user, key)
	r := s.do(http.MethodPost, "/api/v1/orders", body, "Authorization: Bearer "+token)
	if r.status != http.StatusCreated {
		s.t.Fatalf("%+v", r)
	}
	return r.order().ID
}

// A token opens the channels of its user and no others, whether one is needed or not; one that is none opens nothing, and
// none at all opens nothing where one is needed. An admin's opens all.
func TestClientsWithTokens(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Settings){"optional": nil, "required": authRequired} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothClients(t, func(t *testing.T, program string) {
				s := serve(t, change)
				with := func(token string) *customer {
					return s.customer(program, func(o *customerOptions) {
						switch {
						case token == "":
						case program == "echo.mjs":
							o.Options["bearerToken"] = token
						default:
							o.Headers["Authorization"] = "Bearer " + token
						}
					})
				}
				refused := func(c *customer, channel string, status int) {
					t.Helper()
					c.do("subscribe", "channel", channel)
					c.sees(`"channel":"`+channel+`"`, `"pusher:subscription_error"`, fmt.Sprintf(`"status":%d`, status))
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
				if nobody := with(""); name == "required" {
					refused(nobody, "private-orders.1", 401)
					refused(nobody, "private-cache-orders.1", 401)
				} else {
					nobody.subscribe("private-orders.1")
				}
				id := s.buyWith(token, 1, "mine")
				for _, c := range []*customer{own, admin} {
					if data := c.hears("private-orders.1", "OrderPaid").Data; data["order_id"] != float64(id) {
						t.Errorf("heard %v of order %d", data, id)
					}
				}
			})
		})
	}
}

// In a browser a page of another origin may send its token with the request for a signature, as a header only.
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
			p.sees("refused private-orders.1 401")
			continue
		}
		for range 2 {
			p.sees("listens to")
		}
		id := s.buyWith(token, 1, fmt.Sprint(len(script)))
		p.shows(fmt.Sprintf("private-orders.1: order %d is PAID", id))
	}
}
