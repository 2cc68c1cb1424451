package config

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
)

// URL is the URL of a database or of Redis. It may contain a password, which only Reveal returns. It holds a pointer for the same
// reason as Secret.
type URL struct{ text *string }

// NewURL returns a URL as it was written. NewURL("") is the zero URL.
func NewURL(text string) URL {
	if text == "" {
		return URL{}
	}
	return URL{&text}
}

// Reveal returns the URL with its password. Pass it only to code that connects.
func (u URL) Reveal() string {
	if u.text == nil {
		return ""
	}
	return *u.text
}

// String returns the URL with *** for the password.
func (u URL) String() string {
	p := u.parts()
	if name, _, found := strings.Cut(strings.TrimSuffix(p.user, "@"), ":"); found {
		p.user = name + ":***@"
	}
	return p.String()
}

// parts are the parts of a URL, each with its delimiters. A URL without :// has only a path.
type parts struct{ scheme, user, hosts, path, query string }

func (u URL) parts() (p parts) {
	scheme, rest, found := strings.Cut(u.Reveal(), "://")
	if !found {
		return parts{path: u.Reveal()}
	}
	p.scheme = scheme + "://"
	if i := strings.Index(rest, "?"); i >= 0 {
		rest, p.query = rest[:i], rest[i:]
	}
	if i := strings.Index(rest, "/"); i >= 0 {
		rest, p.path = rest[:i], rest[i:]
	}
	at := strings.LastIndex(rest, "@") + 1
	p.user, p.hosts = rest[:at], rest[at:]
	return p
}

func (p parts) String() string { return p.scheme + p.user + p.hosts + p.path + p.query }

// Hosts returns the servers of the URL as HOST:PORT; none for a file.
func (u URL) Hosts() (hosts []string) {
	p := u.parts()
	if p.hosts == "" {
		return nil
	}
	port := map[string]string{"mysql://": "3306", "postgres://": "5432", "postgresql://": "5432"}[p.scheme]
	if port == "" {
		if port = "6379"; strings.Contains(p.query, "master_set=") {
			port = "26379"
		}
	}
	for host := range strings.SplitSeq(p.hosts, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// Single reports whether the URL names exactly one server, and neither a cluster nor Sentinels.
func (u URL) Single() bool {
	return len(u.Hosts()) == 1 && !strings.Contains(u.parts().query, "master_set=")
}

// At returns the URL with another server, HOST:PORT.
func (u URL) At(host string) URL {
	p := u.parts()
	p.hosts = host
	return NewURL(p.String())
}

// Named returns the URL of another database on the same server.
func (u URL) Named(database string) URL {
	p := u.parts()
	p.path = "/" + database
	return NewURL(p.String())
}

// GoString is String, for %#v.
func (u URL) GoString() string { return u.String() }

// MarshalText is String, for JSON and its like.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// OnServer reports whether the URL of a database names a server, rather than a file.
func (u URL) OnServer() bool { return u.Engine() != "SQLite" }

// Engine is the kind of database that a URL names.
func (u URL) Engine() string {
	switch scheme, _, _ := strings.Cut(u.Reveal(), ":"); scheme {
	case "mysql":
		return "MySQL"
	case "postgres", "postgresql":
		return "PostgreSQL"
	default:
		return "SQLite"
	}
}

// address reads a URL that check accepts. Its errors do not show the value, since any part of it may be a password.
func address(check func(text string) error) codec[URL] {
	return codec[URL]{
		parse: func(text string) (URL, error) {
			if err := check(text); err != nil {
				return URL{}, err
			}
			return NewURL(text), nil
		},
		print: URL.Reveal,
		show:  URL.String,
	}
}

// unlessEmpty accepts no value, too.
func unlessEmpty(check func(text string) error) func(text string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		return check(text)
	}
}

// maxURL bounds a URL, in bytes.
const maxURL = 4096

// databaseURL checks the URL of a database.
func databaseURL(text string) error {
	switch scheme, path, _ := strings.Cut(text, ":"); scheme {
	case "sqlite":
		return sqlitePath(path)
	case "mysql":
		return mysqlURL(text)
	case "postgres", "postgresql":
		return postgresURL(text)
	default:
		return errors.New("must be sqlite:PATH, such as sqlite:orderflow.db, mysql://USER:PASSWORD@HOST:PORT/NAME " +
			"or postgres://USER:PASSWORD@HOST:PORT/NAME")
	}
}

func sqlitePath(path string) error {
	switch {
	case path == "" || strings.HasPrefix(path, ":memory:"):
		return errors.New("must name a file: sqlite:PATH, such as sqlite:orderflow.db; orders are kept on disk")
	case strings.HasPrefix(path, "//"):
		return errors.New("must be sqlite:PATH without //, such as sqlite:orderflow.db or sqlite:/var/lib/orderflow/orderflow.db")
	case strings.ContainsAny(path, "?#%") || !plain(path) || len(path) > maxURL:
		return errors.New("must be sqlite:PATH, the path printable and without any of ? # %")
	}
	return nil
}

// serverURL checks the URL of a database on a server.
func serverURL(text string) error {
	if NewURL(text).Engine() == "PostgreSQL" {
		return postgresURL(text)
	}
	return mysqlURL(text)
}

// mysqlURL is mysql://USER:PASSWORD@HOST:PORT/NAME?tls=true&ca=FILE. Port, password and what follows the name may be left out.
func mysqlURL(text string) error {
	u, err := databaseServer(text, "mysql")
	if err != nil {
		return err
	}
	if err := parameters(u.RawQuery, map[string]func(string) bool{
		"tls": func(value string) bool { return slices.Contains([]string{"true", "skip-verify", "false"}, value) },
		"ca":  func(value string) bool { return value != "" && plain(value) },
	}, "tls=true, tls=skip-verify and tls=false, and with tls=true ca=FILE"); err != nil {
		return err
	}
	if query := u.Query(); query.Has("ca") && query.Get("tls") != "true" {
		return errors.New("must have tls=true with ca=FILE, since ca= names the CA that verifies the server's certificate")
	}
	return nil
}

// postgresURL is postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=verify-full&sslrootcert=FILE. Port, password and what follows the
// name may be left out.
func postgresURL(text string) error {
	u, err := databaseServer(text, "postgres", "postgresql")
	if err != nil {
		return err
	}
	return parameters(u.RawQuery, map[string]func(string) bool{
		"sslmode": func(value string) bool {
			return slices.Contains([]string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}, value)
		},
		"sslrootcert": func(value string) bool { return value != "" && plain(value) },
	}, "sslmode=disable, allow, prefer, require, verify-ca or verify-full, and sslrootcert=FILE")
}

// databaseServer reads the URL of a database on a server.
func databaseServer(text string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch form := schemes[0] + "://USER:PASSWORD@HOST:PORT/NAME"; {
	case err != nil || !slices.Contains(schemes, u.Scheme) || u.Opaque != "" || !plain(text) || len(text) > maxURL ||
		u.User.Username() == "" || !hostName(u.Hostname()) || !portOrNone(u) || strings.Contains(text, "#"):
		return nil, errors.New("must be " + form + "; in user and password, write characters other than letters and digits as %XX")
	case !databaseName(strings.TrimPrefix(u.Path, "/")):
		return nil, errors.New("must name a database after the host: " + form + ", with NAME of letters, digits, _ and -")
	}
	return u, nil
}

func portOrNone(u *url.URL) bool {
	return portNumber(u.Port()) || u.Port() == "" && !strings.HasSuffix(u.Host, ":")
}

// databaseName reports whether a text can be the name of a database in every statement.
func databaseName(text string) bool {
	return text != "" && len(text) <= 64 && !strings.ContainsFunc(text, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// redisURL checks redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS. Several hosts with commas between them are a cluster,
// or Sentinels with ?master_set=NAME; ?ca=FILE names the CA of the certificates.
func redisURL(text string) error {
	malformed := errors.New("must be redis://HOST:PORT or rediss://HOST:PORT, with USER:PASSWORD@ before the host if the server requires it, " +
		"several hosts with commas between them for a cluster, ?master_set=NAME for Sentinel, and ?ca=FILE for your own CA")
	scheme, rest, _ := strings.Cut(text, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, number, hasNumber := strings.Cut(rest, "/")
	hosts := authority[strings.LastIndex(authority, "@")+1:]
	if (scheme != "redis" && scheme != "rediss") || !plain(text) || len(text) > maxURL || strings.ContainsAny(text, "# ") ||
		!userInfo(strings.TrimSuffix(authority, hosts)) {
		return malformed
	}
	list := strings.Split(hosts, ",")
	for _, host := range list {
		if !hostMaybePort(host) {
			return malformed
		}
	}
	if hasNumber && number != "" {
		if _, err := count(1_000_000).parse(number); err != nil && number != "0" {
			return errors.New("must end with the host or a database number: redis://HOST:PORT/0")
		}
		if len(list) > 1 {
			return errors.New("cannot have a database number after several hosts, since a cluster has only one database")
		}
	}
	return parameters(query, map[string]func(string) bool{
		"master_set": func(value string) bool { return value != "" && len(value) <= 255 },
		"ca":         func(file string) bool { return file != "" && scheme == "rediss" },
	}, "master_set=NAME, and with rediss:// ca=FILE")
}

// userInfo reports whether a text is USER:PASSWORD@, percent-encoded, or empty.
func userInfo(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse("redis://" + text + "host")
	return err == nil && u.Hostname() == "host" && u.User != nil
}

// hostMaybePort reports whether a text is HOST or HOST:PORT, with an IPv6 address in brackets.
func hostMaybePort(text string) bool {
	if host, port, err := net.SplitHostPort(text); err == nil {
		return hostName(host) && portNumber(port)
	}
	inner, bracketed := strings.CutPrefix(text, "[")
	if bracketed {
		inner, bracketed = strings.CutSuffix(inner, "]")
	}
	return bracketed && hostName(inner) || !strings.ContainsAny(text, ":[]") && hostName(text)
}

// parameters checks the parameters of a URL: known names, each at most once, with a valid value.
func parameters(query string, known map[string]func(value string) bool, list string) error {
	values, err := url.ParseQuery(query)
	valid := err == nil
	for name, given := range values {
		check := known[name]
		valid = valid && check != nil && len(given) == 1 && check(given[0])
	}
	if !valid {
		return errors.New("has an unknown or invalid parameter after the ?; valid are " + list)
	}
	return nil
}

// keyPrefix reads a prefix of Redis keys. Braces are refused: they would place all keys on one node of a cluster.
func keyPrefix() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }) {
				return "", mustBe("up to 64 printable ASCII characters without spaces and braces, such as shop:", text)
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}
