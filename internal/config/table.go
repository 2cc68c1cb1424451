package config

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Setting is a row of the table.
type Setting struct {
	Flag    string // without the dashes
	Alias   string // former name of the flag, which still works; "" for none
	Env     string // name in the environment and in a settings file
	Group   string // heading in help and in .env.example
	Value   string // placeholder of the value in help; "" for a switch, which takes true or false elsewhere
	Default string // as a user would write it; "" for no value
	Unset   string // meaning of no value, in words; "" for none
	Help    string // sentences: what the setting does, and its values

	binding
}

// names returns the names in the environment: the present one, then the former one.
func (s Setting) names() []string {
	if s.Alias == "" {
		return []string{s.Env}
	}
	return []string{s.Env, envPrefix + strings.ToUpper(strings.ReplaceAll(s.Alias, "-", "_"))}
}

// defaultText describes the default in help.
func (s Setting) defaultText() string { return cmp.Or(s.Default, s.Unset, "none") }

// The groups, in the order in which they are shown.
const (
	groupCommon   = "General"
	groupLogs     = "Logs"
	groupStore    = "Database"
	groupDatabase = "Database server"
	groupShared   = "Redis"
	groupProcess  = "Process"
	groupServer   = "HTTP"
	groupLive     = "WebSockets"
	groupTraces   = "Traces"
	groupIntake   = "Batching"
	groupWorker   = "Payments"
	groupPayment  = "Payment gateway"
)

// day bounds settings that are meant for hours.
const day = 24 * time.Hour

// inFile is the advice for secrets.
const inFile = "Set it in the environment or in a settings file: other users of the machine can read flags."

// Table returns every setting, in the order in which they are shown.
func Table() []Setting {
	return slices.Concat(tableCommon(), tableLogs(), tableStore(), tableDatabaseServer(), tableShared(), tableProcess(), tableServer(),
		tableRealtime(), tableTraces(), tableIntake(), tableWorker(), tablePayment())
}

func tableCommon() []Setting {
	return []Setting{{
		Flag: "config", Env: "ORDERFLOW_CONFIG", Group: groupCommon, Value: "FILE",
		Help: "Settings file: lines NAME=value with the names of the environment. Flags and the environment override it. A value may stand in " +
			"quotes. A line that Docker Compose and systemd read differently is refused.",
		binding: bind(func(s *Settings) *string { return &s.Config }, text(4096)),
	}}
}

func tableLogs() []Setting {
	return []Setting{{
		Flag: "log-level", Env: "ORDERFLOW_LOG_LEVEL", Group: groupLogs, Value: "LEVEL", Default: "info",
		Help:    "Lowest level that is logged: debug, info, warn or error.",
		binding: bind(func(s *Settings) *slog.Level { return &s.LogLevel }, logLevel()),
	}, {
		Flag: "log-format", Env: "ORDERFLOW_LOG_FORMAT", Group: groupLogs, Value: "FORMAT", Default: "auto",
		Help:    "text, json or auto: text on a terminal, JSON elsewhere.",
		binding: bind(func(s *Settings) *LogFormat { return &s.LogFormat }, oneOf(LogAuto, LogText, LogJSON)),
	}}
}

func tableStore() []Setting {
	return []Setting{{
		Flag: "database", Env: "DATABASE_URL", Group: groupStore, Value: "URL", Default: "sqlite:orderflow.db",
		Help: "sqlite:PATH is a file, for one server at a time. mysql://USER:PASSWORD@HOST:PORT/NAME is MySQL or MariaDB; ?tls=true encrypts the " +
			"connection and verifies the certificate (&ca=FILE: with your own CA), ?tls=skip-verify encrypts it only. " +
			"postgres://USER:PASSWORD@HOST:PORT/NAME is PostgreSQL; ?sslmode=verify-full encrypts the " +
			"connection and verifies the certificate (&sslrootcert=FILE: with your own CA).",
		binding: bind(func(s *Settings) *URL { return &s.Database }, address(databaseURL)),
	}, {
		Flag: "currency", Env: "ORDERFLOW_CURRENCY", Group: groupStore, Value: "CODE", Default: "USD",
		Help:    "Currency of all prices: an ISO 4217 code with two decimals, such as EUR.",
		binding: bind(func(s *Settings) *string { return &s.Currency }, currency()),
	}}
}

func tableDatabaseServer() []Setting {
	return []Setting{{
		Flag: "database-read", Env: "DATABASE_READ_URL", Group: groupDatabase, Value: "URL", Unset: "the database itself",
		Help:    "Replica of the database on a server (mysql:// or postgres://…), for lists of orders and products.",
		binding: bind(func(s *Settings) *URL { return &s.DatabaseRead }, address(unlessEmpty(serverURL))),
	}, {
		Flag: "database-pool", Env: "DATABASE_POOL", Group: groupDatabase, Value: "N", Default: "32",
		Help:    "Limit of this process's connections to the database server for writes; reads have a pool of the same size.",
		binding: bind(func(s *Settings) *int { return &s.DatabasePool }, count(500)),
	}}
}

func tableShared() []Setting {
	return []Setting{{
		Flag: "redis", Env: "REDIS_URL", Group: groupShared, Value: "URL", Unset: "none, all within this process",
		Help: "Redis, through which processes share locks, events and rate limits: redis://USER:PASSWORD@HOST:PORT, or rediss:// for TLS " +
			"(?ca=FILE: with your own CA). Several hosts with commas between them are a cluster; with ?master_set=NAME they are Sentinels.",
		binding: bind(func(s *Settings) *URL { return &s.Redis }, address(unlessEmpty(redisURL))),
	}, {
		Flag: "redis-prefix", Env: "REDIS_PREFIX", Group: groupShared, Value: "TEXT",
		Help:    "Prefix of every key and channel in Redis. Installations that share one Redis need different prefixes.",
		binding: bind(func(s *Settings) *string { return &s.RedisPrefix }, keyPrefix()),
	}}
}

func tableProcess() []Setting {
	return []Setting{{
		Flag: "roles", Env: "ORDERFLOW_ROLES", Group: groupProcess, Value: "LIST", Default: "api,worker,realtime",
		Help:    "Roles of this process: any of api, worker and realtime.",
		binding: bind(func(s *Settings) *Roles { return &s.Roles }, roles()),
	}, {
		Flag: "max-time", Env: "ORDERFLOW_MAX_TIME", Group: groupProcess, Value: "DURATION", Default: "0",
		Help: "Finish the current work and exit with 0 after this time, so that a supervisor starts a new process; 0 for never. " +
			"Only with --roles worker.",
		binding: bind(func(s *Settings) *time.Duration { return &s.MaxTime }, duration(0, 365*day)),
	}, {
		Flag: "drain-delay", Env: "ORDERFLOW_DRAIN_DELAY", Group: groupProcess, Value: "DURATION", Default: "0",
		Help:    "How long to keep serving after SIGTERM, already not ready, so that load balancers stop sending requests; at most 20s.",
		binding: bind(func(s *Settings) *time.Duration { return &s.DrainDelay }, duration(0, 20*time.Second)),
	}, {
		Flag: "samples", Env: "ORDERFLOW_SAMPLES", Group: groupProcess, Default: "false",
		Help: "Fill an empty database at start with sample data: five products, and three users with the password \"password\". " +
			"--samples=false turns it off. Refused with --auth required.",
		binding: bind(func(s *Settings) *bool { return &s.Samples }, onOff()),
	}}
}

func tableServer() []Setting {
	return []Setting{{
		Flag: "addr", Env: "ORDERFLOW_ADDR", Group: groupServer, Value: "HOST:PORT", Default: "127.0.0.1:8000",
		Help: "Listen address of the HTTP server: API and console with the role api, metrics and probes in every process. " +
			"off disables it, only without the role api.",
		binding: bind(func(s *Settings) *Addr { return &s.Addr }, addr()),
	}, {
		Flag: "auth", Env: "ORDERFLOW_AUTH", Group: groupServer, Value: "MODE", Unset: "optional on a loopback address, else it must be set",
		Help: "required: every request needs a token, except health, metrics, documentation and log-in. optional: a request without a token " +
			"may act for any user; a request with a token may act only for the token's user.",
		binding: bind(func(s *Settings) *string { return &s.Auth }, auth()),
	}, {
		Flag: "rate-limit", Env: "ORDERFLOW_RATE_LIMIT", Group: groupServer, Value: "RATE", Default: "60/m",
		Help: "Requests of a user, or of a client IP address without a token: N/s, N/m or off. A token bucket of N, refilled evenly. " +
			"Log-ins are limited to 10/m per account and per address. off turns all limits off, also those of log-ins and admins.",
		binding: bind(func(s *Settings) *Rate { return &s.RateLimit }, codec[Rate]{parse: parseRate, print: printRate}),
	}, {
		Flag: "admin-rate-limit", Env: "ORDERFLOW_ADMIN_RATE_LIMIT", Group: groupServer, Value: "RATE", Default: "6000/m",
		Help: "Requests with an admin token, such as those of a back end that acts for many users: N/s, N/m or off. " +
			"Each order also counts against the --rate-limit of its user.",
		binding: bind(func(s *Settings) *Rate { return &s.AdminRateLimit }, codec[Rate]{parse: parseRate, print: printRate}),
	}, {
		Flag: "trusted-proxies", Env: "ORDERFLOW_TRUSTED_PROXIES", Group: groupServer, Value: "CIDRS",
		Help:    "Networks of proxies whose X-Forwarded-For is trusted, such as 10.0.0.0/8,fd00::/8.",
		binding: bind(func(s *Settings) *[]netip.Prefix { return &s.TrustedProxies }, list(network(), 0, 100)),
	}, {
		Flag: "idle-timeout", Env: "ORDERFLOW_IDLE_TIMEOUT", Group: groupServer, Value: "DURATION", Default: "2m",
		Help: "How long an idle HTTP connection stays open. Set it longer than the idle time-out of the load balancer, so that the balancer " +
			"closes connections first.",
		binding: bind(func(s *Settings) *time.Duration { return &s.IdleTimeout }, duration(time.Second, day)),
	}, {
		Flag: "allowed-origins", Env: "ORDERFLOW_ALLOWED_ORIGINS", Group: groupServer, Value: "ORIGINS", Unset: "same host and loopback addresses",
		Help: "Origins of web pages that may use the API and WebSockets, such as https://shop.example, and of apps, such as " +
			"capacitor://localhost. The server's own pages always may.",
		binding: bind(func(s *Settings) *[]string { return &s.AllowedOrigins }, list(origin(), 0, 100)),
	}}
}

func tableRealtime() []Setting {
	return []Setting{{
		Flag: "realtime-addr", Env: "ORDERFLOW_REALTIME_ADDR", Group: groupLive, Value: "HOST:PORT", Default: "127.0.0.1:8080",
		Help:    "Listen address of the WebSocket server, with the role realtime.",
		binding: bind(func(s *Settings) *Addr { return &s.RealtimeAddr }, listenAddr()),
	}, {
		Flag: "realtime-app-id", Env: "ORDERFLOW_REALTIME_APP_ID", Group: groupLive, Value: "TEXT", Default: "1",
		Help: "Application id in the URLs of the signed Pusher API. Pusher's libraries require a number. The former default, orderflow, is " +
			"always accepted.",
		binding: bind(func(s *Settings) *string { return &s.RealtimeAppID }, pathSegment()),
	}, {
		Flag: "realtime-key", Env: "ORDERFLOW_REALTIME_KEY", Group: groupLive, Value: "TEXT", Default: "orderflow-key",
		Help:    "Application key that Pusher clients connect with. It is public.",
		binding: bind(func(s *Settings) *string { return &s.RealtimeKey }, pathSegment()),
	}, {
		Flag: "realtime-secret", Env: "ORDERFLOW_REALTIME_SECRET", Group: groupLive, Value: "SECRET", Unset: "random at each start",
		Help:    "Application secret, which signs channels and published events. All processes need the same one. " + inFile,
		binding: bind(func(s *Settings) *Secret { return &s.RealtimeSecret }, secret()),
	}}
}

func tableTraces() []Setting {
	return []Setting{{
		Flag: "otlp-endpoint", Env: "OTEL_EXPORTER_OTLP_ENDPOINT", Group: groupTraces, Value: "URL", Unset: "off",
		Help:    "Base URL of the receiver of OpenTelemetry traces (OTLP over HTTP), such as http://127.0.0.1:4318.",
		binding: bind(func(s *Settings) *string { return &s.OTLPEndpoint }, endpoint()),
	}, {
		Flag: "trace-sample", Env: "ORDERFLOW_TRACE_SAMPLE", Group: groupTraces, Value: "SHARE", Default: "0.01",
		Help:    "Share of requests that are traced, 0 to 1, unless the caller's traceparent decides.",
		binding: bind(func(s *Settings) *float64 { return &s.TraceSample }, share()),
	}}
}

func tableIntake() []Setting {
	return []Setting{{
		Flag: "batch-max", Env: "ORDERFLOW_BATCH_MAX", Group: groupIntake, Value: "N", Default: "1000",
		Help:    "Limit of orders in a batch, which share one commit. 1 turns batching off: one transaction per order.",
		binding: bind(func(s *Settings) *int { return &s.BatchMax }, count(10_000)),
	}, {
		Flag: "queue-max", Env: "ORDERFLOW_QUEUE_MAX", Group: groupIntake, Value: "N", Default: "10000",
		Help:    "Limit of orders that wait for a batch. Further orders get 503 at once.",
		binding: bind(func(s *Settings) *int { return &s.QueueMax }, count(1_000_000)),
	}}
}

func tableWorker() []Setting {
	return []Setting{{
		Flag: "payment-attempts", Alias: "tries", Env: "ORDERFLOW_PAYMENT_ATTEMPTS", Group: groupWorker, Value: "N", Default: "3",
		Help: "Payment attempts per order. An order whose last attempt got no answer becomes a failed job, which an operator resolves. " +
			"A declined payment is not attempted again.",
		binding: bind(func(s *Settings) *int { return &s.PaymentAttempts }, count(100)),
	}, {
		Flag: "backoff", Env: "ORDERFLOW_BACKOFF", Group: groupWorker, Value: "DURATIONS", Default: "1s,3s,5s",
		Help:    "Waits before payment attempt 2, 3, 4 and so on; the last wait repeats.",
		binding: bind(func(s *Settings) *[]time.Duration { return &s.Backoff }, list(duration(0, day), 1, 100)),
	}, {
		Flag: "worker-concurrency", Env: "ORDERFLOW_WORKER_CONCURRENCY", Group: groupWorker, Value: "N", Default: "256",
		Help:    "Limit of concurrent charges in this process.",
		binding: bind(func(s *Settings) *int { return &s.WorkerConcurrency }, count(10_000)),
	}, {
		Flag: "lease", Env: "ORDERFLOW_LEASE", Group: groupWorker, Value: "DURATION", Default: "30s",
		Help: "How long a claim on an order lasts before another worker may claim the order. It must be longer than --charge-timeout plus " +
			LeaseMargin.String() + ".",
		binding: bind(func(s *Settings) *time.Duration { return &s.Lease }, duration(time.Second, day)),
	}, {
		Flag: "charge-timeout", Env: "ORDERFLOW_CHARGE_TIMEOUT", Group: groupWorker, Value: "DURATION", Default: "10s",
		Help:    "How long to wait for the gateway's answer to a charge or a void.",
		binding: bind(func(s *Settings) *time.Duration { return &s.ChargeTimeout }, duration(time.Millisecond, time.Hour)),
	}}
}

func tablePayment() []Setting {
	return []Setting{{
		Flag: "gateway", Env: "ORDERFLOW_GATEWAY", Group: groupPayment, Value: "URL", Default: GatewaySimulated,
		Help:    "simulated, or the http:// or https:// URL of a payment provider.",
		binding: bind(func(s *Settings) *string { return &s.Gateway }, gateway()),
	}, {
		Flag: "gateway-secret", Env: "ORDERFLOW_GATEWAY_SECRET", Group: groupPayment, Value: "SECRET",
		Help:    "Secret that signs calls to the payment provider. " + inFile,
		binding: bind(func(s *Settings) *Secret { return &s.GatewaySecret }, secret()),
	}, {
		Flag: "simulated-latency", Env: "ORDERFLOW_SIMULATED_LATENCY", Group: groupPayment, Value: "RANGE", Default: "50ms-200ms",
		Help:    "Latency of simulated charges: MIN-MAX, or one duration.",
		binding: bind(func(s *Settings) *Span { return &s.SimulatedLatency }, codec[Span]{parse: parseSpan, print: printSpan}),
	}, {
		Flag: "simulated-success", Env: "ORDERFLOW_SIMULATED_SUCCESS", Group: groupPayment, Value: "SHARE", Default: "0.8",
		Help:    "Share of simulated charges that succeed, 0 to 1; the others are declined.",
		binding: bind(func(s *Settings) *float64 { return &s.SimulatedSuccess }, share()),
	}, {
		Flag: "simulated-seed", Env: "ORDERFLOW_SIMULATED_SEED", Group: groupPayment, Value: "TEXT", Unset: "generated once per database",
		Help:    "Seed that, with an order's charge key, determines outcome and latency of its simulated charge.",
		binding: bind(func(s *Settings) *string { return &s.SimulatedSeed }, text(64)),
	}}
}
