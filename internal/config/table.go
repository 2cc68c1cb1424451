package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Setting is a row of the table.
type Setting struct {
	Flag    string // without the dashes
	Env     string // the name in the environment and in a settings file
	Group   string // the heading that it stands under in help and in .env.example
	Value   string // what stands for its value in help; "" for a flag that takes none, and true or false elsewhere
	Default string // as a user would write it; "" for nothing
	Help    string // sentences: what it does, what it may be

	binding
}

// The groups, in the order in which they are shown.
const (
	groupCommon  = "General"
	groupStore   = "Data"
	groupMySQL   = "MySQL"
	groupShared  = "Redis"
	groupProcess = "Process"
	groupServer  = "HTTP"
	groupLive    = "WebSockets"
	groupTraces  = "Traces"
	groupIntake  = "Intake of orders"
	groupWorker  = "Processing of payments"
	groupPayment = "Payment gateway"
)

// day bounds settings that are meant for hours.
const day = 24 * time.Hour

// Table returns every setting, in the order in which they are shown.
func Table() []Setting {
	return slices.Concat(tableCommon(), tableStore(), tableMySQL(), tableShared(), tableProcess(), tableServer(), tableRealtime(),
		tableTraces(), tableIntake(), tableWorker(), tablePayment())
}

func tableCommon() []Setting {
	return []Setting{{
		Flag: "config", Env: "ORDERFLOW_CONFIG", Group: groupCommon, Value: "FILE",
		Help: "A file of settings: NAME=value lines with the names of the environment. Flags and environment win over it. A value may stand in " +
			"quotes. A line that Docker Compose and systemd read differently is refused.",
		binding: bind(func(s *Settings) *string { return &s.Config }, text(4096)),
	}, {
		Flag: "log-level", Env: "ORDERFLOW_LOG_LEVEL", Group: groupCommon, Value: "LEVEL", Default: "info",
		Help:    "Least important lines to log: debug, info, warn or error.",
		binding: bind(func(s *Settings) *slog.Level { return &s.LogLevel }, logLevel()),
	}, {
		Flag: "log-format", Env: "ORDERFLOW_LOG_FORMAT", Group: groupCommon, Value: "FORMAT", Default: "auto",
		Help:    "text, json, or auto: text on a terminal, JSON elsewhere.",
		binding: bind(func(s *Settings) *LogFormat { return &s.LogFormat }, oneOf(LogAuto, LogText, LogJSON)),
	}}
}

func tableStore() []Setting {
	return []Setting{{
		Flag: "database", Env: "DATABASE_URL", Group: groupStore, Value: "URL", Default: "sqlite:orderflow.db",
		Help: "The database: sqlite:PATH, whose file one server at a time may run on, or mysql://USER:PASSWORD@HOST:PORT/NAME with " +
			"?tls=true (and &ca=FILE for an authority of your own) or ?tls=skip-verify where it is to be encrypted.",
		binding: bind(func(s *Settings) *URL { return &s.Database }, address(databaseURL)),
	}, {
		Flag: "currency", Env: "ORDERFLOW_CURRENCY", Group: groupStore, Value: "CODE", Default: "USD",
		Help:    "Currency of all prices: the ISO 4217 code of one with two decimals.",
		binding: bind(func(s *Settings) *string { return &s.Currency }, currency()),
	}}
}

func tableMySQL() []Setting {
	return []Setting{{
		Flag: "database-read", Env: "DATABASE_READ_URL", Group: groupMySQL, Value: "URL",
		Help:    "A replica of the MySQL database, mysql://… too, for lists of orders and products. None: the database itself.",
		binding: bind(func(s *Settings) *URL { return &s.DatabaseRead }, address(unlessEmpty(mysqlURL))),
	}, {
		Flag: "database-pool", Env: "DATABASE_POOL", Group: groupMySQL, Value: "N", Default: "32",
		Help:    "Connections to MySQL that this process may have for writes, and as many again for reads.",
		binding: bind(func(s *Settings) *int { return &s.DatabasePool }, count(500)),
	}}
}

func tableShared() []Setting {
	return []Setting{{
		Flag: "redis", Env: "REDIS_URL", Group: groupShared, Value: "URL",
		Help: "Redis, which processes share locks, events and limits through: redis://USER:PASSWORD@HOST:PORT, rediss:// for TLS, several " +
			"hosts with commas between them for a cluster, ?master_set=NAME for Sentinel, ?ca=FILE for a CA of your own. None: " +
			"all of it stays within this process.",
		binding: bind(func(s *Settings) *URL { return &s.Redis }, address(unlessEmpty(redisURL))),
	}, {
		Flag: "redis-prefix", Env: "REDIS_PREFIX", Group: groupShared, Value: "TEXT",
		Help:    "Begins every key in Redis, so that installations may share one.",
		binding: bind(func(s *Settings) *string { return &s.RedisPrefix }, keyPrefix()),
	}}
}

func tableProcess() []Setting {
	return []Setting{{
		Flag: "roles", Env: "ORDERFLOW_ROLES", Group: groupProcess, Value: "LIST", Default: "api,worker,realtime",
		Help:    "What this process does: any of api, worker and realtime.",
		binding: bind(func(s *Settings) *Roles { return &s.Roles }, roles()),
	}, {
		Flag: "max-time", Env: "ORDERFLOW_MAX_TIME", Group: groupProcess, Value: "DURATION", Default: "0",
		Help:    "Finish the work at hand and exit with 0 after this long, for a supervisor to start afresh; 0 for never. Only with --roles worker.",
		binding: bind(func(s *Settings) *time.Duration { return &s.MaxTime }, duration(0, 365*day)),
	}, {
		Flag: "drain-delay", Env: "ORDERFLOW_DRAIN_DELAY", Group: groupProcess, Value: "DURATION", Default: "0",
		Help:    "How long to go on serving, already not ready, after SIGTERM: time for load balancers to notice.",
		binding: bind(func(s *Settings) *time.Duration { return &s.DrainDelay }, duration(0, 20*time.Second)),
	}, {
		Flag: "samples", Env: "ORDERFLOW_SAMPLES", Group: groupProcess, Default: "false",
		Help: "Add five sample products and three sample users, whose password is password, to an empty database at start; --samples=false " +
			"switches it off. Refused with --auth required.",
		binding: bind(func(s *Settings) *bool { return &s.Samples }, onOff()),
	}}
}

func tableServer() []Setting {
	return []Setting{{
		Flag: "addr", Env: "ORDERFLOW_ADDR", Group: groupServer, Value: "HOST:PORT", Default: "127.0.0.1:8000",
		Help:    "Where to listen: the API with role api, metrics and probes in every process. off, only without role api, listens nowhere.",
		binding: bind(func(s *Settings) *Addr { return &s.Addr }, addr()),
	}, {
		Flag: "auth", Env: "ORDERFLOW_AUTH", Group: groupServer, Value: "WHETHER",
		Help: "required: callers must show a token, but for health, metrics, documentation and the log-in. optional: whoever reaches the API " +
			"may order for any user, and a token that is shown binds to its own. That goes without saying on a loopback address; on any other " +
			"one of the two must be said.",
		binding: bind(func(s *Settings) *string { return &s.Auth }, auth()),
	}, {
		Flag: "rate-limit", Env: "ORDERFLOW_RATE_LIMIT", Group: groupServer, Value: "RATE", Default: "60/m",
		Help: "Requests that a user, or a client IP without a token, may make: N/s, N/m or off. A bucket of N, refilled evenly. " +
			"Log-ins have 10/m for an account and an IP. off: no limit at all, of log-ins and admins neither.",
		binding: bind(func(s *Settings) *Rate { return &s.RateLimit }, codec[Rate]{parse: parseRate, print: printRate}),
	}, {
		Flag: "admin-rate-limit", Env: "ORDERFLOW_ADMIN_RATE_LIMIT", Group: groupServer, Value: "RATE", Default: "6000/m",
		Help: "Requests with an admin's token, such as those of a back end that acts for many users: N/s, N/m or off. " +
			"An order also counts against the --rate-limit of the user that it is for.",
		binding: bind(func(s *Settings) *Rate { return &s.AdminRateLimit }, codec[Rate]{parse: parseRate, print: printRate}),
	}, {
		Flag: "trusted-proxies", Env: "ORDERFLOW_TRUSTED_PROXIES", Group: groupServer, Value: "CIDRS",
		Help:    "Networks whose X-Forwarded-For is believed, such as 10.0.0.0/8,fd00::/8.",
		binding: bind(func(s *Settings) *[]netip.Prefix { return &s.TrustedProxies }, list(network(), 0, 100)),
	}, {
		Flag: "idle-timeout", Env: "ORDERFLOW_IDLE_TIMEOUT", Group: groupServer, Value: "DURATION", Default: "2m",
		Help: "How long a connection without a request stays open, of HTTP and before a WebSocket begins. Longer than the load balancer keeps " +
			"its idle connections, so that the balancer closes them first.",
		binding: bind(func(s *Settings) *time.Duration { return &s.IdleTimeout }, duration(time.Second, day)),
	}, {
		Flag: "allowed-origins", Env: "ORDERFLOW_ALLOWED_ORIGINS", Group: groupServer, Value: "ORIGINS",
		Help: "Web pages that may call the API from a browser, such as https://shop.example, and apps, such as capacitor://localhost. " +
			"The server's own pages always may. None: those of the same host and of loopback addresses.",
		binding: bind(func(s *Settings) *[]string { return &s.AllowedOrigins }, list(origin(), 0, 100)),
	}}
}

func tableRealtime() []Setting {
	return []Setting{{
		Flag: "realtime-addr", Env: "ORDERFLOW_REALTIME_ADDR", Group: groupLive, Value: "HOST:PORT", Default: "127.0.0.1:8080",
		Help:    "Where the role realtime listens for WebSockets.",
		binding: bind(func(s *Settings) *Addr { return &s.RealtimeAddr }, listenAddr()),
	}, {
		Flag: "realtime-app-id", Env: "ORDERFLOW_REALTIME_APP_ID", Group: groupLive, Value: "TEXT", Default: "1",
		Help: "The application's id in the addresses of the signed HTTP API. Pusher's libraries want a number. The id orderflow, which was " +
			"the default before, is always accepted.",
		binding: bind(func(s *Settings) *string { return &s.RealtimeAppID }, pathSegment()),
	}, {
		Flag: "realtime-key", Env: "ORDERFLOW_REALTIME_KEY", Group: groupLive, Value: "TEXT", Default: "orderflow-key",
		Help:    "What clients call the application; it is no secret.",
		binding: bind(func(s *Settings) *string { return &s.RealtimeKey }, pathSegment()),
	}, {
		Flag: "realtime-secret", Env: "ORDERFLOW_REALTIME_SECRET", Group: groupLive, Value: "SECRET",
		Help: "Signs channels and what is published. None: drawn at start, which does for a process that is alone. Rather in the environment " +
			"or the file: other users of a machine see flags.",
		binding: bind(func(s *Settings) *Secret { return &s.RealtimeSecret }, secret()),
	}}
}

func tableTraces() []Setting {
	return []Setting{{
		Flag: "otlp-endpoint", Env: "OTEL_EXPORTER_OTLP_ENDPOINT", Group: groupTraces, Value: "URL",
		Help: "Where to send OpenTelemetry traces, as OTLP over HTTP: the base address of a receiver, such as http://127.0.0.1:4318. None: " +
			"no traces.",
		binding: bind(func(s *Settings) *string { return &s.OTLPEndpoint }, endpoint()),
	}, {
		Flag: "trace-sample", Env: "ORDERFLOW_TRACE_SAMPLE", Group: groupTraces, Value: "SHARE", Default: "0.01",
		Help:    "Share of requests that are followed by traces, 0 to 1, where the caller's traceparent does not decide.",
		binding: bind(func(s *Settings) *float64 { return &s.TraceSample }, share()),
	}}
}

func tableIntake() []Setting {
	return []Setting{{
		Flag: "batch-max", Env: "ORDERFLOW_BATCH_MAX", Group: groupIntake, Value: "N", Default: "1000",
		Help:    "Orders that may share one commit. 1 turns batching off: a transaction for every order.",
		binding: bind(func(s *Settings) *int { return &s.BatchMax }, count(10_000)),
	}, {
		Flag: "queue-max", Env: "ORDERFLOW_QUEUE_MAX", Group: groupIntake, Value: "N", Default: "10000",
		Help:    "Orders that may wait for their commit; one more is answered 503 at once.",
		binding: bind(func(s *Settings) *int { return &s.QueueMax }, count(1_000_000)),
	}}
}

func tableWorker() []Setting {
	return []Setting{{
		Flag: "worker-concurrency", Env: "ORDERFLOW_WORKER_CONCURRENCY", Group: groupWorker, Value: "N", Default: "256",
		Help:    "Charges that this process may have in flight.",
		binding: bind(func(s *Settings) *int { return &s.WorkerConcurrency }, count(10_000)),
	}, {
		Flag: "tries", Env: "ORDERFLOW_TRIES", Group: groupWorker, Value: "N", Default: "3",
		Help:    "Attempts to charge an order before it is left to an operator. Being declined is an answer and not tried again.",
		binding: bind(func(s *Settings) *int { return &s.Tries }, count(100)),
	}, {
		Flag: "backoff", Env: "ORDERFLOW_BACKOFF", Group: groupWorker, Value: "DURATIONS", Default: "1s,3s,5s",
		Help:    "Waits before attempt 2, 3, 4 and so on; the last one repeats.",
		binding: bind(func(s *Settings) *[]time.Duration { return &s.Backoff }, list(duration(0, day), 1, 100)),
	}, {
		Flag: "lease", Env: "ORDERFLOW_LEASE", Group: groupWorker, Value: "DURATION", Default: "30s",
		Help: "How long a worker's claim on an order holds before another may take the order over. More than --charge-timeout and " +
			LeaseMargin.String() + ".",
		binding: bind(func(s *Settings) *time.Duration { return &s.Lease }, duration(time.Second, day)),
	}, {
		Flag: "charge-timeout", Env: "ORDERFLOW_CHARGE_TIMEOUT", Group: groupWorker, Value: "DURATION", Default: "10s",
		Help:    "How long to wait for the gateway's answer.",
		binding: bind(func(s *Settings) *time.Duration { return &s.ChargeTimeout }, duration(time.Millisecond, time.Hour)),
	}}
}

func tablePayment() []Setting {
	return []Setting{{
		Flag: "gateway", Env: "ORDERFLOW_GATEWAY", Group: groupPayment, Value: "URL", Default: GatewaySimulated,
		Help:    "simulated, or the http:// or https:// address of a payment provider.",
		binding: bind(func(s *Settings) *string { return &s.Gateway }, gateway()),
	}, {
		Flag: "gateway-secret", Env: "ORDERFLOW_GATEWAY_SECRET", Group: groupPayment, Value: "SECRET",
		Help:    "What calls to the provider are signed with. Rather in the environment or the file: other users of a machine see flags.",
		binding: bind(func(s *Settings) *Secret { return &s.GatewaySecret }, secret()),
	}, {
		Flag: "simulated-latency", Env: "ORDERFLOW_SIMULATED_LATENCY", Group: groupPayment, Value: "RANGE", Default: "50ms-200ms",
		Help:    "How long a simulated charge takes: MIN-MAX, or one duration.",
		binding: bind(func(s *Settings) *Span { return &s.SimulatedLatency }, codec[Span]{parse: parseSpan, print: printSpan}),
	}, {
		Flag: "simulated-success", Env: "ORDERFLOW_SIMULATED_SUCCESS", Group: groupPayment, Value: "SHARE", Default: "0.8",
		Help:    "Share of simulated charges that succeed, 0 to 1; the others are declined.",
		binding: bind(func(s *Settings) *float64 { return &s.SimulatedSuccess }, share()),
	}, {
		Flag: "simulated-seed", Env: "ORDERFLOW_SIMULATED_SEED", Group: groupPayment, Value: "TEXT",
		Help:    "Decides, with an order's key, how its simulated charge goes. None: drawn once for each database.",
		binding: bind(func(s *Settings) *string { return &s.SimulatedSeed }, text(64)),
	}}
}
