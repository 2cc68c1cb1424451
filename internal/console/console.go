package console

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

// Prefix is the path of the console.
const Prefix = "/console"

// Options configure a Console. All except Gateway and OnScrape are required.
type Options struct {
	Authenticator Authenticator
	InProcess     InProcess // performs the actions of the pages
	Store         Store     // has the data that the pages show
	Gateway       Gateway   // of the page Try it; nil: no such page
	Feed          Feed

	Local          bool           // no sessions: every local client is the admin
	TrustedProxies []netip.Prefix // their X-Forwarded-Proto decides whether the browser uses TLS

	NoWorker, NoRealtime bool // roles that the process does not have; the page Live shows it

	Metrics  prometheus.Gatherer // metrics of the process; gathered once a second
	OnScrape prometheus.Gatherer // metrics that need a query; gathered every ten seconds while a browser shows the page Live

	Logger *slog.Logger
}

// Console is the web console. Its methods may be called from any goroutine.
type Console struct {
	options   Options
	mux       *http.ServeMux
	assets    *assets
	templates map[string]*template.Template // by file
	protect   *http.CrossOriginProtection
	live      *live
	demo      demo
	audits    audits
}

// New returns a console. Its live figures change only while Run runs. An error means that an embedded file is invalid.
func New(options Options) (*Console, error) {
	c := &Console{options: options, protect: http.NewCrossOriginProtection(), live: newLive(options.Metrics, options.OnScrape)}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.templates, err = c.loadTemplates(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.demo = demo{api: options.InProcess, store: options.Store}
	c.mux = c.routes()
	return c, nil
}

// Run samples the figures of the page Live once a second until ctx ends, then ends the page's streams. It returns nil.
func (c *Console) Run(ctx context.Context) error {
	defer c.Drain()
	c.live.run(ctx)
	return nil
}

// Drain ends the streams for good, so that browsers reconnect to another node. No stream starts afterwards.
func (c *Console) Drain() { c.live.drain() }

// ServeHTTP answers requests below Prefix.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.setHeaders(w.Header(), r)
	c.mux.ServeHTTP(w, r)
}

// routes returns the mux with every asset, page and action.
func (c *Console) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Prefix+"/assets/{version}/{name}", c.assets.serve)
	pages := c.pages()
	for i := range pages {
		mux.HandleFunc(pages[i].method()+" "+Prefix+pages[i].path, c.endpoint(&pages[i]))
	}
	notFound := &page{title: "Not found", public: true, anyQuery: true, handle: func(*Console, *requestContext) (any, error) {
		return nil, order.Errorf(order.CodeNotFound, "This page does not exist.")
	}}
	mux.HandleFunc(Prefix+"/", c.endpoint(notFound))
	return mux
}

// endpoint returns the handler of a page: it checks access, reads the query string, then calls the page's handler.
func (c *Console) endpoint(p *page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := &requestContext{console: c, w: w, r: r, page: p, trace: w.Header().Get("X-Trace-Id")}
		data, err := any(nil), rc.checkAccess()
		if err == nil && !p.anyQuery {
			err = rc.readQuery()
		}
		if err == nil {
			data, err = p.handle(c, rc)
		}
		rc.respond(data, err) //nolint:contextcheck // it uses the request's context
	}
}
