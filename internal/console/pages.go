package console

import (
	"net/http"

	"orderflow/internal/web"
)

// page is one page or one action of the console.
type page struct {
	path     string // below Prefix, with ServeMux's wildcards; "/{$}" is the first page
	title    string
	template string // file in templates/, which defines "main"; "" for what draws nothing of its own
	query    []web.Parameter
	parts    []string // other names that the template defines and htmx may ask for
	scripts  []string // assets that the page needs beside htmx, in this order
	nav      bool     // in the navigation, in the order of the table
	post     bool     // an action
	open     bool     // for people who are not logged in, too
	leaves   bool     // the browser is to forget who visits, also when that cannot be found out
	script   bool     // for scripts: who is not logged in is told so, and not led to the log-in
	admin    bool     // for admins alone
	missing  bool     // there is no such page, whatever its query string

	// handle returns what the template shows. It may answer by itself and return errAnswered.
	handle func(*Console, *requestContext) (any, error)
}

// pages is every page and every action.
func (c *Console) pages() []page {
	script := []string{"pages.js"}
	next, number, part := []web.Parameter{{Name: "next"}}, []web.Parameter{{Name: "page"}}, []web.Parameter{{Name: "part"}}
	search := []web.Parameter{{Name: "id"}, {Name: "key"}, {Name: "user"}, {Name: "status"}, {Name: "before"}}
	letters := []web.Parameter{{Name: "do"}, {Name: "id", Many: true}, {Name: "all"}, {Name: "page"}}
	pages := []page{
		{
			path: "/{$}", title: "Live", template: "live.html", nav: true, admin: true, handle: (*Console).showLive,
			scripts: []string{"uPlot.iife.min.js", "pusher.min.js", "live.js", "feed.js"},
		},
		{path: "/live/events", title: "Live", script: true, admin: true, handle: (*Console).streamLive},
		{path: "/broadcasting/auth", title: "Live", post: true, script: true, handle: (*Console).authorizeChannel},
		{path: "/login", title: "Log in", template: "login.html", open: true, query: next, handle: (*Console).showLogIn},
		{path: "/login", title: "Log in", template: "login.html", open: true, post: true, handle: (*Console).logIn},
		{path: "/logout", title: "Log out", open: true, post: true, leaves: true, handle: (*Console).logOut},

		{path: "/orders", title: "Orders", template: "orders.html", nav: true, query: search, handle: (*Console).showOrders},
		{path: "/orders/{id}", title: "Order", template: "order.html", scripts: script, handle: (*Console).showOrder},
		{path: "/orders/{id}/cancel", title: "Cancel an order", template: "cancel.html", handle: (*Console).askCancel},
		{path: "/orders/{id}/cancel", title: "Cancel an order", template: "cancel.html", post: true, handle: (*Console).cancelOrder},
		{path: "/products", title: "Products", template: "products.html", nav: true, query: number, handle: (*Console).showProducts},
		{path: "/products", title: "Products", template: "products.html", post: true, admin: true, handle: (*Console).createProduct},
		{path: "/products/{id}", title: "Product", template: "product.html", handle: (*Console).showProduct},
		{path: "/products/{id}", title: "Product", template: "product.html", post: true, admin: true, handle: (*Console).changeProduct},
		{path: "/products/{id}/restock", title: "Product", template: "product.html", post: true, admin: true, handle: (*Console).restockProduct},
		{
			path: "/dead-letters", title: "Dead letters", template: "letters.html", nav: true, admin: true, query: number,
			handle: (*Console).showLetters,
		},
		{path: "/dead-letters/ask", title: "Dead letters", template: "letters-ask.html", admin: true, query: letters, handle: (*Console).askLetters},
		{path: "/dead-letters", title: "Dead letters", template: "letters.html", post: true, admin: true, handle: (*Console).dealWithLetters},
	}
	if c.options.Try != nil {
		pages = append(pages, []page{
			{
				path: "/try", title: "Try it", template: "try.html", parts: []string{"gateway"}, scripts: script, nav: true, admin: true,
				query: part, handle: (*Console).showTry,
			},
			{path: "/try/{kind}", title: "Try it", template: "try.html", scripts: script, post: true, admin: true, handle: (*Console).runTrial},
			{path: "/try/faults", title: "Try it", template: "try.html", scripts: script, post: true, admin: true, handle: (*Console).setFault},
		}...)
	}
	return append(pages, []page{
		{path: "/audit", title: "Audit", template: "audit.html", nav: true, admin: true, handle: (*Console).showAudit},
		{path: "/audit", title: "Audit", template: "audit.html", post: true, admin: true, handle: (*Console).runAudit},
	}...)
}

func (p *page) method() string {
	if p.post {
		return http.MethodPost
	}
	return http.MethodGet
}

// Href is where the page is, for the navigation.
func (p *page) Href() string {
	if p.path == "/{$}" {
		return Prefix + "/"
	}
	return Prefix + p.path
}

// For reports whether somebody may see the page, once they are in.
func (p *page) For(who session) bool { return !p.admin || who.Admin() }

// Title is the page's name.
func (p *page) Title() string { return p.title }

// Scripts are the assets that the page needs.
func (p *page) Scripts() []string { return p.scripts }
