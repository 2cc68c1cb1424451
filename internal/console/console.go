package console

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/order"
)

// Prefix is the path below which the console is served.
const Prefix = "/console"

// Options are what a Console works with. All but Asked and Try must be set.
type Options struct {
	Door Authenticator
	Feed Feed

	Inside InProcess // the product's HTTP API, for what the pages do
	Shop   Store     // for what they show
	Try    Gateway   // for the page Try it; nil where nothing may be tried, and there is no such page

	Local    bool                                             // no sessions: whoever sits at the machine is the admin
	FromHere func(r *http.Request) error                      // where Local: why a request is not from who sits at the machine; web.FromLoopback
	Secure   func(r *http.Request) bool                       // whether the browser sent a request over TLS
	MayTake  func(w http.ResponseWriter, limit time.Duration) // gives an answer more time than others have; web.ExtendDeadline
	Status   func(code order.Code) int                        // the API's table from codes to HTTP statuses; 0 for a code that it does not know

	NoWorker, NoRealtime bool // roles that the process does not have: the page Live says so

	Metrics prometheus.Gatherer // what the process counts; gathered once a second
	Asked   prometheus.Gatherer // what others are asked for; gathered every ten seconds, and only while somebody looks

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
	trials    trials
	audits    audits
}

// New returns a console. Its live figures move only while Run does its work. An error means that an embedded file is broken.
func New(options Options) (*Console, error) {
	c := &Console{options: options, protect: http.NewCrossOriginProtection(), live: newLive(options.Metrics, options.Asked)}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.templates, err = c.loadTemplates(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.trials = trials{inside: options.Inside, reader: options.Shop}
	c.mux = c.routes()
	return c, nil
}

// Run takes the figures of the page Live once a second until ctx ends, and ends its streams then. It returns nil.
func (c *Console) Run(ctx context.Context) error {
	defer c.Drain()
	c.live.run(ctx)
	return nil
}

// Drain ends the streams, to be taken up again elsewhere; none begins afterwards. It cannot be taken back.
func (c *Console) Drain() { c.live.end() }

// ServeHTTP answers what is asked for below Prefix.
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
	nothing := &page{title: "Not found", open: true, missing: true, handle: func(*Console, *requestContext) (any, error) {
		return nil, order.Errorf(order.CodeNotFound, "There is nothing at this address.")
	}}
	mux.HandleFunc(Prefix+"/", c.endpoint(nothing))
	return mux
}

// endpoint is the handler of one row: the guards, then the page.
func (c *Console) endpoint(p *page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &requestContext{console: c, w: w, r: r, page: p, trace: w.Header().Get("X-Trace-Id")}
		data, err := any(nil), v.guard()
		if err == nil && !p.missing {
			err = v.readQuery()
		}
		if err == nil {
			data, err = p.handle(c, v)
		}
		v.answer(data, err) //nolint:contextcheck // the visit has the request's
	}
}
