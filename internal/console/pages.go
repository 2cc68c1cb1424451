package console

import (
	"net/http"

	"orderflow/internal/web"
)

// page is one page or one action of the console.
type page struct {
	path     string // below Prefix, as a pattern of ServeMux; "/{$}" is the start page
	title    string
	template string // file in templates/, which defines "main"; "" for a handler that draws nothing
	query    []web.Parameter
	anyQuery bool     // accepts any query string
	parts    []string // other templates of the file that htmx may request
	scripts  []string // assets that the page needs beside htmx, in this order
	nav      bool     // in the navigation, in the order of the table
	post     bool     // an action
	public   bool     // needs no log-in
	admin    bool     // for admins only
	script   bool     // requested by a script: without a log-in it returns 401 instead of a redirect
	logsOut  bool     // clears the session's cookies even when the session cannot be read

	// handle returns the data of the template. It may respond by itself and return errResponded.
	handle func(*Console, *requestContext) (any, error)
}

// pages returns every page and every action.
func (c *Console) pages() []page {
	script := []string{"pages.js"}
	next, number, part := []web.Parameter{{Name: "next"}}, []web.Parameter{{Name: "page"}}, []web.Parameter{{Name: "part"}}
	search := []web.Parameter{{Name: "id"}, {Name: "key"}, {Name: "user"}, {Name: "status"}, {Name: "before"}}
	chosen := []web.Parameter{{Name: "do"}, {Name: "id", Many: true}, {Name: "all"}, {Name: "page"}}
	pages := []page{
		{
			path: "/{$}", title: "Live", template: "live.html", nav: true, admin: true, handle: (*Console).showLive,
			scripts: []string{"uPlot.iife.min.js", "pusher.min.js", "live.js", "feed.js"},
		},
		{path: "/live/events", title: "Live", script: true, admin: true, handle: (*Console).streamLive},
		{path: "/broadcasting/auth", title: "Live", post: true, script: true, handle: (*Console).authorizeChannel},
		{path: "/login", title: "Log in", template: "login.html", public: true, query: next, handle: (*Console).showLogIn},
		{path: "/login", title: "Log in", template: "login.html", public: true, post: true, handle: (*Console).logIn},
		{path: "/logout", title: "Log out", public: true, post: true, logsOut: true, handle: (*Console).logOut},

		{path: "/orders", title: "Orders", template: "orders.html", nav: true, query: search, handle: (*Console).showOrders},
		{path: "/orders/{id}", title: "Order", template: "order.html", scripts: script, handle: (*Console).showOrder},
		{path: "/orders/{id}/cancel", title: "Cancel an order", template: "cancel.html", handle: (*Console).confirmCancel},
		{path: "/orders/{id}/cancel", title: "Cancel an order", template: "cancel.html", post: true, handle: (*Console).cancelOrder},
		{path: "/products", title: "Products", template: "products.html", nav: true, query: number, handle: (*Console).showProducts},
		{path: "/products", title: "Products", template: "products.html", post: true, admin: true, handle: (*Console).createProduct},
		{path: "/products/{id}", title: "Product", template: "product.html", handle: (*Console).showProduct},
		{path: "/products/{id}", title: "Product", template: "product.html", post: true, admin: true, handle: (*Console).changeProduct},
		{path: "/products/{id}/restock", title: "Product", template: "product.html", post: true, admin: true, handle: (*Console).restockProduct},
		{
			path: "/failed-jobs", title: "Failed jobs", template: "failed_jobs.html", nav: true, admin: true, query: number,
			handle: (*Console).showFailedJobs,
		},
		{
			path: "/failed-jobs/confirm", title: "Failed jobs", template: "failed_jobs_confirm.html", admin: true, query: chosen,
			handle: (*Console).confirmFailedJobs,
		},
		{path: "/failed-jobs", title: "Failed jobs", template: "failed_jobs.html", post: true, admin: true, handle: (*Console).resolveFailedJobs},
	}
	if c.options.Gateway != nil {
		pages = append(pages, []page{
			{
				path: "/try", title: "Try it", template: "try.html", parts: []string{"gateway"}, scripts: script, nav: true, admin: true,
				query: part, handle: (*Console).showTry,
			},
			{path: "/try/{kind}", title: "Try it", template: "try.html", scripts: script, post: true, admin: true, handle: (*Console).runDemo},
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

// Href returns the page's path, for the navigation.
func (p *page) Href() string {
	if p.path == "/{$}" {
		return Prefix + "/"
	}
	return Prefix + p.path
}

// AllowedFor reports whether a logged-in session may see the page.
func (p *page) AllowedFor(s session) bool { return !p.admin || s.Admin() }

// Title returns the page's title.
func (p *page) Title() string { return p.title }

// Scripts returns the assets that the page needs.
func (p *page) Scripts() []string { return p.scripts }
