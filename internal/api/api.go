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

// Intake creates and cancels orders. Both methods may wait for a busy product, and return when ctx ends. Their errors carry the codes
// of order.Place and order.Cancel, CodeLockConflict, CodeOverloaded or CodeUnavailable.
type Intake interface {
	Create(ctx context.Context, draft order.Draft) (order.Placed, error)
	Cancel(ctx context.Context, request order.CancelRequest) (*order.Order, error)
	// OrderRefused and CancelRefused count a request that was refused before Create or Cancel.
	OrderRefused(err error)
	CancelRefused(err error)
}

// Reader reads orders and products. Each method limits its own time, and returns CodeUnavailable when the database does not answer.
type Reader interface {
	// Order returns an order, or CodeNotFound.
	Order(ctx context.Context, id int64) (*order.Order, error)
	// Orders returns a page of orders, newest first.
	Orders(ctx context.Context, query order.ListQuery) (order.Page, error)
	// Events returns an order's events with sequences above after, or CodeNotFound.
	Events(ctx context.Context, orderID int64, after int) ([]order.Event, error)
	// Products returns all products, ordered by id.
	Products(ctx context.Context) ([]order.Product, error)
	// Existing returns which of the users and products exist.
	Existing(ctx context.Context, users, products []int64) (existingUsers, existingProducts map[int64]bool, err error)
	// Ping returns nil when the database answers.
	Ping(ctx context.Context) error
	// CheckWritable returns an error when a recent write failed for a reason that an operator has to remove, such as a full disk.
	CheckWritable() error
	// CheckDamage returns an error, with the remedy, when an operation has found the database file damaged.
	CheckDamage() error
}

// Products is a cache of the answer to GET /products that processes share. Each method takes at most a twentieth of a second.
type Products interface {
	// Get returns the cached list, or nil and a version for the Put of a list that is read after this call.
	Get(ctx context.Context) (list []byte, version string, err error)
	// Put caches a list for this time, unless the list was dropped after version was read.
	Put(ctx context.Context, version string, list []byte, left time.Duration) error
	// Drop drops the list for all processes.
	Drop(ctx context.Context) error
}

// Authenticator checks and issues tokens. Its methods return when ctx ends. CodeUnavailable means that the database does not answer,
// and CodeOverloaded that too many checks wait.
type Authenticator interface {
	// Check returns the caller of a token, or CodeUnauthenticated for an invalid one. The result may be a few seconds old.
	Check(ctx context.Context, token string) (order.Caller, error)
	// LogIn creates a token with this lifetime for the user with this e-mail address and password, or returns CodeUnauthenticated.
	// Only this call returns the token itself.
	LogIn(ctx context.Context, email, password, name string, lifetime time.Duration) (token string, about order.Token, err error)
	// Revoke revokes a token, and returns CodeUnauthenticated for an invalid one.
	Revoke(ctx context.Context, token string) error
}

// Admin has the administrator's reads and writes. Each write is one transaction, whose error carries CodeUnavailable; the errors of
// the members of a slice are in their answers.
type Admin interface {
	// CreateProducts answers each draft with a product, new or existing, or with CodeKeyReused.
	CreateProducts(ctx context.Context, drafts []order.ProductDraft) ([]order.Added, error)
	// ChangeProducts answers each change with the product after it, or with CodeNotFound.
	ChangeProducts(ctx context.Context, changes []order.ProductChange) ([]order.ProductAnswer, error)
	// Restock answers each restock with its movement, new or existing, or with the codes of order.ApplyRestocks.
	Restock(ctx context.Context, restocks []order.Restock) ([]order.Restocked, error)
	// FailedJobPage returns a page of failed jobs, open ones first.
	FailedJobPage(ctx context.Context, page, perPage int) (order.FailedJobPage, error)
	// Stats counts the figures of the installation. It may take seconds.
	Stats(ctx context.Context) (order.Stats, error)
}

// Options are the parts and settings of an API. Reader, Bus, Logger and Registerer must be set, and Limiter with Rate.
type Options struct {
	Intake     Intake // nil in a process without the role api, which serves health, probes and metrics only
	Reader     Reader
	Bus        bus.Bus          // its changes wake event streams
	Products   Products         // nil for a list that only this process caches
	Admin      Admin            // with Intake
	FailedJobs FailedJobService // with Intake
	Auditor    Auditor          // with Intake
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Tracer     tracing.Tracer // the zero value traces nothing

	Auth         Authenticator // nil: every token is invalid, and there is no log-in
	AuthRequired bool          // every caller must send a token; otherwise only callers with a token are restricted by it
	Local        bool          // clients on this machine are administrators; see web.FromLoopback

	SessionCookie string // the cookie that authenticates a GET from the same origin as a token does; "" for none

	Limiter        limit.Limiter
	Rate           limit.Rate     // for each user, or client address without a token; zero for no limit, also of log-ins and admins
	AdminRate      limit.Rate     // for an admin's token; zero for no limit
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	AllowedOrigins []string       // such as https://shop.example, or *; empty for the same host and loopback
	MaxStreams     int            // event streams at once; 0 for 10,000

	Realtime pusher.App // signs for POST /broadcasting/auth; without a secret there is no such route

	Metrics     http.Handler  // answers /metrics; nil for no such path
	RedisState  func() string // for /health: connected, disconnected or embedded; nil for embedded
	RedisReason func() string // for /health: why Redis is disconnected, as a sentence; nil for none
}

// API is the HTTP API. Its methods may be called from any goroutine.
type API struct {
	options  Options
	mux      *http.ServeMux
	mounted  string // the address of the mounted handler; "" for none
	origins  *web.Origins
	products cache[[]byte]
	pings    cache[struct{}]
	stats    cache[[]byte]

	plainMetrics, gzipMetrics *cache[*metricsPage]

	auditing  atomic.Bool
	budget    answerBudget
	waker     *waker
	metrics   *metrics
	docsFiles docsFiles
	fixed     fixedHeaders
	pool      sync.Pool // of *requestContext
	draining  atomic.Bool

	unavailable logLimiter // of lines about an unavailable database
}

// New returns an API. Its event streams are woken only while Run runs.
func New(options Options) *API {
	if options.MaxStreams == 0 {
		options.MaxStreams = 10_000
	}
	if options.RedisState == nil {
		options.RedisState = func() string { return "embedded" }
	}
	a := &API{
		options:   options,
		origins:   web.NewOrigins(options.AllowedOrigins),
		waker:     newWaker(options.MaxStreams),
		metrics:   newMetrics(options.Registerer),
		docsFiles: newDocsFiles(),
		fixed:     newFixedHeaders(),
	}
	a.products = cache[[]byte]{age: productsAge, fetch: a.fetchProducts}
	if options.Products != nil { // a list that both caches keep would grow too old
		a.products = cache[[]byte]{fetch: a.fetchShared}
	}
	a.pings = cache[struct{}]{fetch: a.fetchPing}
	a.stats = cache[[]byte]{age: statsAge, fetch: a.fetchStats}
	a.plainMetrics, a.gzipMetrics = newMetricsCache(options.Metrics, ""), newMetricsCache(options.Metrics, "gzip")
	a.metrics.streams(a.waker.open)
	a.pool.New = func() any { return new(requestContext) }
	a.mux = a.routes()
	return a
}

// Handler returns the handler of all paths.
func (a *API) Handler() http.Handler { return a }

// Run wakes the event streams by the changes on the bus until ctx ends, and then ends them. It returns nil.
func (a *API) Run(ctx context.Context) error {
	defer a.waker.end()
	a.waker.run(ctx, a.options.Bus, a.options.Logger)
	return nil
}

// Drain prepares the end of the server: /readyz answers 503, every answer closes its connection, and event streams end, so that
// clients reconnect to another server. Other requests are answered as before. It cannot be undone.
func (a *API) Drain() {
	a.draining.Store(true)
	a.waker.end()
}
