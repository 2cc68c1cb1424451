package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/bus"
	"orderflow/internal/limit"
	"orderflow/internal/order"
	"orderflow/internal/pusher"
	"orderflow/internal/tracing"
	"orderflow/internal/web"
)

// Limits of a request.
const (
	maxBody  = 64 << 10 // bytes
	maxDepth = 16       // nested objects and arrays in a body
)

// Intake takes orders in and cancels them. Both methods may wait for as long as the schedule of a busy product says;
// they return when ctx ends. The errors carry the codes of order.Place and order.Cancel, CodeLockConflict,
// CodeOverloaded or CodeUnavailable.
type Intake interface {
	Create(ctx context.Context, draft order.Draft) (order.Placed, error)
	Cancel(ctx context.Context, request order.CancelRequest) (*order.Order, error)
	// OrderRefused and CancelRefused count a request that was refused before it came to Create or Cancel.
	OrderRefused(err error)
	CancelRefused(err error)
}

// Reader answers questions about orders and products. Each method limits its own time, and returns CodeUnavailable when
// the database does not answer.
type Reader interface {
	// Order returns an order, or CodeNotFound.
	Order(ctx context.Context, id int64) (*order.Order, error)
	// Orders returns a page of orders, newest first.
	Orders(ctx context.Context, query order.ListQuery) (order.Page, error)
	// Events returns an order's history with sequences above after, or CodeNotFound.
	Events(ctx context.Context, orderID int64, after int) ([]order.Event, error)
	// Products returns every product, ascending.
	Products(ctx context.Context) ([]order.Product, error)
	// Existing tells which of the users and products exist.
	Existing(ctx context.Context, users, products []int64) (knownUsers, knownProducts map[int64]bool, err error)
	// Ping returns nil when the database answers.
	Ping(ctx context.Context) error
	// Writable returns nil unless a write failed shortly before for a reason that somebody has to remove, such as a full disk.
	CheckWritable() error
	// Damage returns what an operation found to be damaged in the database file, with the remedy; nil for nothing.
	CheckDamage() error
}

// Products keeps the answer to GET /products for several processes. Each method takes a twentieth of a second at most.
type Products interface {
	// Get returns the list if it is kept, else nil, and a version to Put one with that is loaded after this.
	Get(ctx context.Context) (list []byte, version string, err error)
	// Put keeps a list for as long as left, unless it was dropped since version was read.
	Put(ctx context.Context, version string, list []byte, left time.Duration) error
	// Drop makes everybody forget the list.
	Drop(ctx context.Context) error
}

// Authenticator knows who calls. Its methods return when ctx ends; CodeUnavailable says that the database does not answer,
// CodeOverloaded that too many ask at once.
type Authenticator interface {
	// Check returns who calls with a token, or CodeUnauthenticated for one that does not count. What it says may be a few
	// seconds old.
	Check(ctx context.Context, token string) (order.Caller, error)
	// LogIn makes a token for the user with this e-mail address and password, good for as long as lasts, or returns
	// CodeUnauthenticated. The token itself is never to be had again.
	LogIn(ctx context.Context, email, password, name string, lasts time.Duration) (token string, about order.Token, err error)
	// Revoke takes a token back, and returns CodeUnauthenticated for one that does not count.
	Revoke(ctx context.Context, token string) error
}

// Options are what an API works with. Reader, Bus, Logger and Registerer must be set, and Limiter with Rate.
type Options struct {
	Intake     Intake // nil in a process without the role api: then only health, probes and metrics are there
	Reader     Reader
	Bus        bus.Bus          // whose news wake streams
	Products   Products         // that processes share; nil for a list that is kept in the process
	Admin      Admin            // with Intake
	Desk       FailedJobService // with Intake
	Auditor    Auditor          // with Intake
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Tracer     tracing.Tracer // of nothing by default

	Auth         Authenticator // nil: no token counts, and nobody can log in
	AuthRequired bool          // whether callers must show a token; else only what they show binds them
	Local        bool          // who sits at the machine is its operator; see FromLoopback

	SessionCookie string // a cookie that is as good as a token for GET from the same origin; "" for none

	Limiter        limit.Limiter
	Rate           limit.Rate     // for each user, or client address without a token; zero for no limit, also of log-ins and admins
	AdminRate      limit.Rate     // for an admin's token; zero for no limit
	TrustedProxies []netip.Prefix // whose X-Forwarded-For counts
	AllowedOrigins []string       // such as https://shop.example, or *; empty for the same host and loopback
	MaxStreams     int            // event streams at once; 0 for 10,000

	Realtime pusher.App // signs for POST /broadcasting/auth; without a secret there is no such route

	Metrics     http.Handler  // answers /metrics; nil for no such path
	RedisState  func() string // for /health: connected, disconnected or embedded; nil for embedded
	RedisReason func() string // for /health: a sentence that says why Redis is disconnected; nil for none
}

// API is the HTTP API. Its methods may be called from any goroutine.
type API struct {
	options  Options
	mux      *http.ServeMux
	mounted  string // the address at which Mount put a handler; "" for none
	origins  *web.Origins
	products shared[[]byte]
	ping     shared[struct{}]
	stats    shared[[]byte]

	plainScrape, packedScrape *scrape

	auditing atomic.Bool
	unread   unread
	waker    *waker
	metrics  *metrics
	page     page
	fixed    fixedHeaders
	pool     sync.Pool // of *exchange
	draining atomic.Bool

	unavailable seldom // lines about the database
}

// New returns an API. Its streams are woken only while Run does its work.
func New(options Options) *API {
	if options.MaxStreams == 0 {
		options.MaxStreams = 10_000
	}
	if options.RedisState == nil {
		options.RedisState = func() string { return "embedded" }
	}
	a := &API{
		options: options,
		origins: web.NewOrigins(options.AllowedOrigins),
		waker:   newWaker(options.MaxStreams),
		metrics: newMetrics(options.Registerer),
		page:    newPage(),
		fixed:   newFixedHeaders(),
	}
	a.products = shared[[]byte]{age: productsAge, load: a.loadProducts}
	if options.Products != nil { // it keeps them; kept here as well, they would grow too old
		a.products = shared[[]byte]{load: a.loadShared}
	}
	a.ping = shared[struct{}]{load: a.loadPing}
	a.stats = shared[[]byte]{age: statsAge, load: a.loadStats}
	a.plainScrape, a.packedScrape = newScrape(options.Metrics, ""), newScrape(options.Metrics, "gzip")
	a.metrics.streams(a.waker.open)
	a.pool.New = func() any { return new(requestContext) }
	a.mux = a.routes()
	return a
}

// Handler returns the handler of all paths.
func (a *API) Handler() http.Handler { return a }

// Run wakes the event streams by the bus's news until ctx ends; then it ends them. It returns nil.
func (a *API) Run(ctx context.Context) error {
	defer a.waker.end()
	a.waker.run(ctx, a.options.Bus, a.options.Logger)
	return nil
}

// Drain announces the end: /readyz says no, every answer closes its connection, and event streams end, to be taken up
// again elsewhere. Requests are answered as before. It cannot be taken back.
func (a *API) Drain() {
	a.draining.Store(true)
	a.waker.end()
}
