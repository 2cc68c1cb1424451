package arch

// packageRule is a package of the module and the packages of the module that it may import. Rows are in the order of the levels: imports
// point to rows above their own.
type packageRule struct {
	path    string   // below the module
	imports []string // by its own files; an import that is not used fails the test
	suite   bool     // tests that adapters share: only test files import it, and it may use what test files may
}

// packageRules are the import rules between packages.
//
// Test files may import their own package and every package of the same or a lower level, suites included. So the tests of a role run
// on the real store, and no test of the domain needs one.
func packageRules() [][]packageRule {
	order, batch := "internal/order", "internal/batch"
	sqldb, store, lock, bus, limit := "internal/sqldb", "internal/store", "internal/lock", "internal/bus", "internal/limit"
	redis, servers, env := "internal/redis", "test/servers", "test/env"
	payment, auth, telemetry, tracing := "internal/payment", "internal/auth", "internal/telemetry", "internal/tracing"
	intake, worker, outbox, audit := "internal/intake", "internal/worker", "internal/outbox", "internal/audit"
	unbatched := "internal/unbatched"
	realtime := "internal/realtime"
	web, api, console, config := "internal/web", "internal/api", "internal/console", "internal/config"
	pusher := "internal/pusher"
	app, bench, cli := "internal/app", "internal/bench", "internal/cli"
	return [][]packageRule{
		{ // algorithms: the standard library alone, except tracing, which uses the API of OpenTelemetry
			{path: order},
			{path: batch},
			{path: tracing},
			{path: pusher},
			{path: servers}, // for tests and measurements; the product does not need it
		},
		{ // the environment of tests, over real servers
			{path: env, imports: []string{servers}, suite: true},
		},
		{ // the databases, below the product's SQL
			{path: sqldb},
		},
		{ // one driver or one port each
			{path: store, imports: []string{order, sqldb, tracing}},
			{path: store + "/storetest", imports: []string{order, store}, suite: true},
			{path: lock},
			{path: lock + "/locktest", imports: []string{lock}, suite: true},
			{path: bus},
			{path: bus + "/bustest", imports: []string{bus}, suite: true},
			{path: limit},
			{path: limit + "/limittest", imports: []string{limit}, suite: true},
			{path: payment, imports: []string{order}},
			{path: payment + "/paymenttest", imports: []string{order, payment}, suite: true},
			{path: auth, imports: []string{order}},
			{path: telemetry},
		},
		{ // what HTTP servers share
			{path: web, imports: []string{order, limit}},
		},
		{ // ports over a driver: they know the port, and its adapter in the process
			{path: redis, imports: []string{lock, bus, limit}},
		},
		{ // roles: they know the domain and the ports, never each other and never the store
			{path: intake, imports: []string{order, batch, lock, tracing}},
			{path: unbatched, imports: []string{order}}, // what the product is compared with
			{path: worker, imports: []string{order, batch, bus, payment, tracing}},
			{path: outbox, imports: []string{order, bus, tracing}},
			{path: realtime, imports: []string{order, bus, limit, tracing, pusher, web}},
			{path: audit, imports: []string{order}},
		},
		{ // edges
			{path: api, imports: []string{order, limit, bus, tracing, web, pusher}},
			{path: console, imports: []string{order, web, pusher}},
			{path: config},
		},
		{ // assembly: the one level whose rows may import rows above them within it
			{path: app, imports: []string{
				order, store, lock, bus, limit, redis, payment, auth, telemetry, tracing, intake, unbatched, worker, outbox, realtime, audit, api,
				console, config, web, pusher,
			}},
			{path: bench},
			{path: cli, imports: []string{app, config, bench}},
			{path: "cmd/orderflow", imports: []string{cli}},
			// measurements, which the product does not need
			{path: "cmd/bench-guard", imports: []string{servers, bench}},
			{path: "cmd/bench-realtime", imports: []string{servers, bench, pusher}},
			{path: "cmd/bench-watched", imports: []string{servers, bench, pusher}},
			{path: "cmd/with-servers", imports: []string{servers}},
			// tests of the repository as a whole
			{path: "test/arch"},
			{path: "test/chaos"},
			{path: "test/deploy"},
			{path: "test/metrics"},
		},
	}
}

// library is another module, or a guarded package of the standard library.
type library struct {
	path  string   // it, and all below it
	users []string // the packages whose own files import it; a user that does not import it fails the test
}

// libraries are the importers of other modules; a module that is not listed may not be imported. Test files may also import
// testLibraries.
func libraries() []library {
	return []library{
		{"modernc.org/sqlite", []string{"internal/sqldb"}},
		{"github.com/go-sql-driver/mysql", []string{"internal/sqldb"}},
		{"github.com/jackc/pgx/v5", []string{"internal/sqldb"}},
		{"github.com/redis/rueidis", []string{"internal/redis"}},
		{"github.com/pressly/goose/v3", []string{"internal/sqldb"}},
		{"github.com/failsafe-go/failsafe-go", []string{"internal/payment", "internal/worker"}},
		{"github.com/go-json-experiment/json", []string{"internal/web", "internal/api", "internal/payment", "internal/realtime", "internal/bench"}},
		{"github.com/alecthomas/kong", []string{"internal/config", "internal/cli", "cmd/bench-realtime", "cmd/bench-watched", "cmd/bench-guard"}},
		{"github.com/willabides/kongplete", []string{"internal/cli"}},
		{"github.com/posener/complete", []string{"internal/cli"}},
		{"github.com/schollz/progressbar/v3", []string{"internal/bench"}},
		{"github.com/HdrHistogram/hdrhistogram-go", []string{"internal/bench", "cmd/bench-realtime"}},
		{"github.com/google/uuid", []string{"internal/lock", "internal/worker", "internal/web"}},
		{"github.com/gorilla/websocket", []string{"internal/realtime", "cmd/bench-realtime", "cmd/bench-watched"}},
		{"github.com/hashicorp/golang-lru/v2", []string{"internal/realtime", "internal/auth"}},
		{"go.opentelemetry.io/otel/sdk", []string{"internal/telemetry"}},
		{"go.opentelemetry.io/otel/exporters", []string{"internal/telemetry"}},
		{"go.opentelemetry.io/otel", []string{"internal/tracing", "internal/telemetry"}},
		{"golang.org/x/crypto", []string{"internal/auth"}},
		{"golang.org/x/sync", []string{"internal/auth"}},
		{"golang.org/x/sys", []string{"internal/bench"}}, // clocks of other processes
		{"golang.org/x/term", []string{"internal/telemetry"}},
		{"github.com/prometheus/client_golang", []string{
			"internal/telemetry", "internal/intake", "internal/worker", "internal/outbox", "internal/realtime", "internal/api", "internal/app",
			"internal/console",
		}},
		{"github.com/prometheus/client_model", []string{"internal/console", "internal/telemetry"}}, // what a Gatherer gathers
	}
}

// testLibraries may be imported by test files and suites.
func testLibraries() []string {
	return []string{
		"github.com/anishathalye/porcupine",
		"github.com/chromedp", // a real browser
		"github.com/getkin/kin-openapi",
		"github.com/go-sql-driver/mysql", // for test/env, which creates databases
		"github.com/jackc/pgx/v5",        // for test/env
		"github.com/google/go-cmp",
		"github.com/gorilla/websocket",        // as a client
		"github.com/pusher/pusher-http-go/v5", // a back end that publishes
		"github.com/rogpeppe/go-internal",
		"go.opentelemetry.io/otel/sdk",   // checks exported spans
		"go.opentelemetry.io/proto/otlp", // receives spans
		"go.uber.org/goleak",
		"go.yaml.in/yaml/v4", // test/deploy reads packaged files
		"google.golang.org/protobuf",
		"modernc.org/sqlite", // for tests of store, which limit the size of a file and record statements
		"pgregory.net/rapid",
	}
}

// guarded are packages of the standard library that only these packages may import, except in tests.
func guarded() []library {
	return []library{
		{"database/sql", []string{"internal/sqldb", "internal/store", "test/env"}},
		{"log", nil},              // the product logs with log/slog
		{"unsafe", nil},           // not needed
		{"expvar", nil},           // registers a global handler
		{"net/http/pprof", nil},   // registers a global handler
		{"testing", nil},          // only suites and tests
		{"flag", nil},             // settings come from one table
		{"encoding/json/v2", nil}, // needs GOEXPERIMENT
	}
}
