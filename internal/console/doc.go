// Package console is the web console: pages for the operator of a sale, served by the same process as the API.
//
// The API mounts the console below /console/ and gives each request a trace id. A request then passes these steps:
//
//	ServeHTTP: headers ─▶ asset, or a row of pages.go ─▶ checkAccess: loopback, origin, session, admin
//	  ─▶ readQuery ─▶ the row's handler ─▶ respond: the template in the layout, or for htmx the template alone
//
// Actions call the API in the process, with the session's rights (InProcess), so that a page can do no more than the API allows.
//
// # To add a page
//
// Add a row to pages (pages.go), a template to templates/ and a handler in a file named after the subject:
//
//		{path: "/products", title: "Products", template: "products.html", nav: true, handle: (*Console).showProducts},
//
//		func (c *Console) showProducts(rc *requestContext) (any, error) {
//			page, err := c.options.Store.ProductPage(rc.r.Context(), 1, productsPerPage)
//			if err != nil {
//				return nil, err
//			}
//			return &productsView{Total: page.Total}, nil
//		}
//
//	  - Template: the file defines "main", which sees {{.Data}} (the handler's result), {{.Session}}, {{.Page}} and, when the page
//	    failed, {{.Error}}. layout.html surrounds it; {{template "error" .}} draws the error. htmx gets "main" alone. With
//	    the query parameter part it gets the template of that name, which the row must list in parts.
//	  - Errors: return the error unchanged. The response has the API's status for its code. With nil data the layout shows the error
//	    in place of the page; with data the page itself shows it. seeOther(path) redirects; a handler that has written the response
//	    returns errResponded.
//	  - Query parameters: list them in the row; any other parameter is refused. rc.query has the values.
//	  - Actions: a row with post: true. rc.form() reads the form. Requests of other origins are refused before the handler runs.
//	    admin: true on a row refuses sessions without admin rights.
//	  - Data: add a method to an interface in ports.go. Package app passes the implementation in Options (app/console.go).
//	  - Scripts and styles: files in assets/, with scripts listed in the row. {{asset "live.js"}} is an address that changes with the
//	    file's content. The Content-Security-Policy forbids scripts and styles in HTML, also onclick, style= and hx-on.
//	  - Tests: a case in pages_test.go, a row in failed_store_test.go (a database that does not answer), and the page's rights in
//	    TestPagesOfAUser.
//
// # Sessions
//
// The cookie orderflow_session holds an API token, which the console checks as the API checks a bearer token. On a loopback address
// with auth=optional there are no sessions: every local client is the admin. A web page could then reach the server under a host
// name of its own that resolves to 127.0.0.1 (DNS rebinding), so the Host must be a loopback name, and requests that a proxy has
// forwarded are refused.
package console
