package config

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Settings are all settings of a server. A command embeds Settings, or only the groups that it uses. The table holds the bounds of
// the fields. A zero Settings is not usable; Defaults returns one that is.
type Settings struct {
	Common
	Logs
	Store
	Prices
	DatabaseServer
	Shared
	Process
	Server
	Realtime
	Traces
	Intake
	Attempts
	Worker
	Leases
	Payment
	Simulation
}

// Common are the settings of every command.
type Common struct {
	Config string `name:"config"` // path of the settings file; "" for none
}

// Logs are the settings of the log.
type Logs struct {
	LogLevel  slog.Level `name:"log-level"`
	LogFormat LogFormat  `name:"log-format"`
}

// Store is the database.
type Store struct {
	Database URL `name:"database"` // sqlite:PATH, mysql://… or postgres://…
}

// Prices are the settings of prices.
type Prices struct {
	Currency string `name:"currency"` // ISO 4217
}

// DatabaseServer are the settings of a database on a server.
type DatabaseServer struct {
	DatabaseRead URL `name:"database-read"` // of a replica; the zero URL for none
	DatabasePool int `name:"database-pool"` // connections for writes, and as many for reads
}

// Shared is the Redis that processes share, besides the database.
type Shared struct {
	Redis       URL    `name:"redis"`        // the zero URL for none
	RedisPrefix string `name:"redis-prefix"` // begins every key
}

// Process are the roles of a process and how it ends.
type Process struct {
	Roles      Roles         `name:"roles"`
	MaxTime    time.Duration `name:"max-time"` // 0 for no limit
	DrainDelay time.Duration `name:"drain-delay"`
	Samples    bool          `name:"samples"` // fill an empty database with the sample data at start
}

// Server is the HTTP server.
type Server struct {
	Addr           Addr           `name:"addr"`
	Auth           string         `name:"auth"` // AuthOptional, AuthRequired, or "" when not set
	RateLimit      Rate           `name:"rate-limit"`
	AdminRateLimit Rate           `name:"admin-rate-limit"`
	TrustedProxies []netip.Prefix `name:"trusted-proxies"`
	IdleTimeout    time.Duration  `name:"idle-timeout"`
	AllowedOrigins []string       `name:"allowed-origins"` // scheme://host[:port], lower case; empty: same host and loopback
}

// Realtime is the WebSocket server, and the credentials of its application.
type Realtime struct {
	RealtimeAddr   Addr   `name:"realtime-addr"`
	RealtimeAppID  string `name:"realtime-app-id"`
	RealtimeKey    string `name:"realtime-key"`
	RealtimeSecret Secret `name:"realtime-secret"` // not set: a random one at each start
}

// Traces are the settings of tracing.
type Traces struct {
	OTLPEndpoint string  `name:"otlp-endpoint"` // base URL, http or https; "" for none
	TraceSample  float64 `name:"trace-sample"`  // share of requests, 0 to 1
}

// Intake are the settings of creating orders.
type Intake struct {
	BatchMax int `name:"batch-max"` // orders in a batch; 1 turns batching off
	QueueMax int `name:"queue-max"` // orders that may wait
}

// Attempts are the payment attempts of an order.
type Attempts struct {
	PaymentAttempts int `name:"payment-attempts"`
}

// Worker are the settings of a worker.
type Worker struct {
	Backoff           []time.Duration `name:"backoff"`            // before attempt 2, 3, …; the last one repeats
	WorkerConcurrency int             `name:"worker-concurrency"` // concurrent charges in this process
}

// Leases are the time limits of claims and of calls to the gateway.
type Leases struct {
	Lease         time.Duration `name:"lease"`
	ChargeTimeout time.Duration `name:"charge-timeout"`
}

// Payment is the payment gateway.
type Payment struct {
	Gateway       string `name:"gateway"` // GatewaySimulated, or an http or https URL
	GatewaySecret Secret `name:"gateway-secret"`
}

// Simulation are the settings of the simulated gateway.
type Simulation struct {
	SimulatedLatency Span    `name:"simulated-latency"`
	SimulatedSuccess float64 `name:"simulated-success"` // share of charges that succeed, 0 to 1
	SimulatedSeed    string  `name:"simulated-seed"`    // "" for one that is generated once per database
}

// GatewaySimulated selects the product's own gateway, which simulates a payment provider.
const GatewaySimulated = "simulated"

// Values of Auth.
const (
	AuthOptional = "optional" // a request without a token may act for any user
	AuthRequired = "required" // a request without a token is refused
)

// Roles are the roles of a process; at least one is set.
type Roles struct{ API, Worker, Realtime bool }

// String returns the list as --roles takes it.
func (r Roles) String() string {
	var names []string
	if r.API {
		names = append(names, "api")
	}
	if r.Worker {
		names = append(names, "worker")
	}
	if r.Realtime {
		names = append(names, "realtime")
	}
	return strings.Join(names, ",")
}

// Addr is a listen address: HOST:PORT, or AddrOff.
type Addr string

// AddrOff disables a listener.
const AddrOff Addr = "off"

// Loopback reports whether the address can be reached only from this machine. Host names other than localhost are not
// loopback, since their addresses may change.
func (a Addr) Loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return a == AddrOff
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Rate is a number of requests per second or minute; the zero Rate is no limit.
type Rate struct {
	Tokens int
	Per    time.Duration // a second or a minute
}

// String returns the rate as --rate-limit takes it.
func (r Rate) String() string { return printRate(r) }

// Span is a range of durations, from Min to Max.
type Span struct{ Min, Max time.Duration }

// String returns the range as --simulated-latency takes it.
func (s Span) String() string { return printSpan(s) }

// LogFormat is the format of log lines.
type LogFormat string

// The formats. LogAuto is text on a terminal and JSON elsewhere.
const (
	LogAuto LogFormat = "auto"
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Secret is a text that is never printed; only Reveal returns it. It holds a pointer, because fmt prints unexported fields
// without calling their String method.
type Secret struct{ text *string }

// NewSecret returns a Secret. NewSecret("") is the zero Secret, which is not set.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text, or "" when the secret is not set. Pass it only to code that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns "(set)" or "", never the text.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return "(set)"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for JSON and its like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
