package config

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Settings is everything that a server may be told. Embed it, or only some of its groups, in a verb of the command
// line. The fields' bounds stand in the table; a zero Settings is not usable, Defaults is.
type Settings struct {
	Common
	Store
	MySQL
	Shared
	Process
	Server
	Realtime
	Traces
	Intake
	Worker
	Payment
}

// Common is what every verb takes.
type Common struct {
	Config    string     `name:"config"` // path of the settings file; "" for none
	LogLevel  slog.Level `name:"log-level"`
	LogFormat LogFormat  `name:"log-format"`
}

// Store is where the data lives and what it is sold for.
type Store struct {
	Database URL    `name:"database"` // sqlite:PATH or mysql://…
	Currency string `name:"currency"` // ISO 4217
}

// MySQL is how a server uses a MySQL database.
type MySQL struct {
	DatabaseRead URL `name:"database-read"` // of a replica; the zero URL for none
	DatabasePool int `name:"database-pool"` // connections for writes, and as many for reads
}

// Shared is what processes share beside the database.
type Shared struct {
	Redis       URL    `name:"redis"`        // the zero URL for none
	RedisPrefix string `name:"redis-prefix"` // begins every key
}

// Process is what this process does and how it ends.
type Process struct {
	Roles      Roles         `name:"roles"`
	MaxTime    time.Duration `name:"max-time"` // 0 for no end
	DrainDelay time.Duration `name:"drain-delay"`
	Samples    bool          `name:"samples"` // an empty database gets the sample data at start
}

// Server is the HTTP server.
type Server struct {
	Addr           Addr           `name:"addr"`
	Auth           string         `name:"auth"` // "" when it was not said, else AuthOptional or AuthRequired
	RateLimit      Rate           `name:"rate-limit"`
	AdminRateLimit Rate           `name:"admin-rate-limit"`
	TrustedProxies []netip.Prefix `name:"trusted-proxies"`
	IdleTimeout    time.Duration  `name:"idle-timeout"`
	AllowedOrigins []string       `name:"allowed-origins"` // scheme://host[:port], lower case; none: same host and loopback
}

// Realtime is the WebSocket server, and what signs for it.
type Realtime struct {
	RealtimeAddr   Addr   `name:"realtime-addr"`
	RealtimeAppID  string `name:"realtime-app-id"`
	RealtimeKey    string `name:"realtime-key"`
	RealtimeSecret Secret `name:"realtime-secret"` // not set: one that is drawn at start
}

// Traces is where spans go.
type Traces struct {
	OTLPEndpoint string  `name:"otlp-endpoint"` // base URL, http or https; "" for none
	TraceSample  float64 `name:"trace-sample"`  // share of requests, 0 to 1
}

// Intake is the way in for orders.
type Intake struct {
	BatchMax int `name:"batch-max"` // orders in a batch; 1 turns batching off
	QueueMax int `name:"queue-max"` // orders that may wait
}

// Worker is the processing of payments.
type Worker struct {
	WorkerConcurrency int             `name:"worker-concurrency"` // charges in flight in this process
	Tries             int             `name:"tries"`
	Backoff           []time.Duration `name:"backoff"` // before attempt 2, 3, …; the last one repeats
	Lease             time.Duration   `name:"lease"`
	ChargeTimeout     time.Duration   `name:"charge-timeout"`
}

// Payment is the gateway.
type Payment struct {
	Gateway          string  `name:"gateway"` // GatewaySimulated, or an http or https URL
	GatewaySecret    Secret  `name:"gateway-secret"`
	SimulatedLatency Span    `name:"simulated-latency"`
	SimulatedSuccess float64 `name:"simulated-success"` // share of charges that succeed, 0 to 1
	SimulatedSeed    string  `name:"simulated-seed"`    // "" for one that is drawn once a database
}

// GatewaySimulated is the gateway that is part of the product.
const GatewaySimulated = "simulated"

// What the API asks of callers.
const (
	AuthOptional = "optional" // a token binds who shows one
	AuthRequired = "required" // who shows none is refused
)

// Roles says which parts of the product run in a process; at least one does.
type Roles struct{ API, Worker, Realtime bool }

// String is the list that --roles takes.
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

// Addr is where to listen: HOST:PORT, or AddrOff.
type Addr string

// AddrOff says not to listen at all.
const AddrOff Addr = "off"

// Loopback reports whether the address can be reached from this machine alone. A name other than localhost counts as
// an address that others reach, since what it resolves to may change.
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

// Rate is so many requests in so much time; the zero Rate is no limit.
type Rate struct {
	Tokens int
	Per    time.Duration // a second or a minute
}

// String is the rate as --rate-limit takes it.
func (r Rate) String() string { return printRate(r) }

// Span is a range of durations, from Min to Max.
type Span struct{ Min, Max time.Duration }

// String is the range as --simulated-latency takes it.
func (s Span) String() string { return printSpan(s) }

// LogFormat is how log lines are written.
type LogFormat string

// The formats. LogAuto is text on a terminal and JSON elsewhere.
const (
	LogAuto LogFormat = "auto"
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Secret is a text that no print-out shows: only Reveal gives it away. It holds a pointer because fmt prints what it
// finds in unexported fields without asking their String method.
type Secret struct{ text *string }

// NewSecret returns a Secret; of "" it is the zero Secret, which is not set.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text, "" when the secret is not set. Hand it to what needs it and nowhere else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String says only whether the secret is set.
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
