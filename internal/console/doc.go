// Package console is the web console: pages for the operator of a sale, served by the same binary as the API.
//
// The way of a request, which the API has given a trace id and hands on from below /console/:
//
//	ServeHTTP ── headers ──▶ asset? ──▶ guard: Host, origin, session, admin ──▶ page's or action's handler
//	    ▲                                                                          │ data, or an error
//	    └────── layout and template, or for htmx the template alone ◀──────────────┘
//
// # To add a page
//
// A page is a row in pages (pages.go), a template in templates/ and a handler in a file of its own:
//
//	{path: "/products", title: "Products", template: "products.html", nav: true, handle: (*Console).products},
//
//	func (c *Console) products(v *visit) (any, error) {
//		list, err := c.options.Reader.Products(v.r.Context())
//		return productsView{List: list, Admin: v.who.Admin()}, err
//	}
//
// The template defines "main", which sees {{.Data}} (what the handler returned), {{.Who}} (the session), {{.Page}} and,
// when the page failed, {{.Error}}; layout.html puts the frame round it, and {{template "error" .}} draws the error. A
// request by htmx gets "main" alone, or, with the query parameter part=rows, what the template defines under that name,
// if the row lists it in parts.
//
// The handler returns an error as it got it. Without data beside it the frame draws the error in the page's place; with
// data the page is drawn and shows it itself. The status is the API's for the error's code. To send the browser
// elsewhere return seeOther(path); a handler that has answered by itself returns errAnswered. v.form() reads a form.
//
// What is done and not shown is a row with post: true. Actions are guarded from other origins before a handler is
// called, and admin: true on any row keeps out whoever is no admin.
//
// What a page reads or does comes through a small interface in ports.go and a field of Options, which package app fills
// (console.go there). Scripts and style sheets lie in assets/; {{asset "live.js"}} is an address that changes with
// their content. A page names the scripts that it needs in its row. The policy of content forbids scripts and styles in
// HTML (also onclick, style= and hx-on): styles go to console.css, behaviour to a script or to htmx's attributes.
//
// # Sessions
//
// The cookie orderflow_session holds an API token. The console asks who that is as the API does for a bearer token. On a
// loopback address with auth=optional there are no sessions: whoever sits at the machine is the admin. A page of a
// stranger may then send a request to this machine under a name of its own (DNS rebinding), so the Host must be a
// loopback name, and what a proxy has handed on is refused: it does not come from who sits here.
package console
