package config

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
)

// URL is the address of a database or of Redis. It may carry a password, which no print-out shows: only Reveal gives it
// away. It holds a pointer for the reason that Secret does.
type URL struct{ text *string }

// NewURL returns a URL, as it was written; of "" it is the zero URL, which names nothing.
func NewURL(text string) URL {
	if text == "" {
		return URL{}
	}
	return URL{&text}
}

// Reveal returns the URL with its password. Hand it to what connects and nowhere else.
func (u URL) Reveal() string {
	if u.text == nil {
		return ""
	}
	return *u.text
}

// String is the URL with *** for the password.
func (u URL) String() string {
	p := u.parts()
	if name, _, found := strings.Cut(strings.TrimSuffix(p.user, "@"), ":"); found {
		p.user = name + ":***@"
	}
	return p.String()
}

// parts are the pieces of a URL, each with what sets it apart. A URL without :// is all path.
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

// Hosts are the servers that the URL names, as HOST:PORT; none for a file.
func (u URL) Hosts() (hosts []string) {
	p := u.parts()
	if p.hosts == "" {
		return nil
	}
	port := map[string]string{"mysql://": "3306"}[p.scheme]
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

// Single reports whether one server is all that the URL stands for: neither a cluster nor the Sentinels of a set.
func (u URL) Single() bool {
	return len(u.Hosts()) == 1 && !strings.Contains(u.parts().query, "master_set=")
}

// At is the URL with another server, HOST:PORT.
func (u URL) At(host string) URL {
	p := u.parts()
	p.hosts = host
	return NewURL(p.String())
}

// Named is the URL of another database on the same server.
func (u URL) Named(database string) URL {
	p := u.parts()
	p.path = "/" + database
	return NewURL(p.String())
}

// GoString is String, for %#v.
func (u URL) GoString() string { return u.String() }

// MarshalText is String, for JSON and its like.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MySQL reports whether the URL names a MySQL server.
func (u URL) MySQL() bool { return strings.HasPrefix(u.Reveal(), "mysql:") }

// address is a URL that check accepts. Its errors show nothing of the value, since any part of it may be a password.
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

// unlessEmpty lets a setting be left unsaid.
func unlessEmpty(check func(text string) error) func(text string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		return check(text)
	}
}

// maxURL bounds an address, in bytes.
const maxURL = 4096

// databaseURL is the address of a database, of either kind.
func databaseURL(text string) error {
	switch scheme, path, _ := strings.Cut(text, ":"); scheme {
	case "sqlite":
		return sqlitePath(path)
	case "mysql":
		return mysqlURL(text)
	default:
		return errors.New("must be sqlite:PATH, such as sqlite:orderflow.db, or mysql://USER:PASSWORD@HOST:PORT/NAME")
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

// mysqlURL is mysql://USER:PASSWORD@HOST:PORT/NAME?tls=true&ca=FILE. Port, password and what follows the name may be left out.
func mysqlURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "mysql" || u.Opaque != "" || !plain(text) || len(text) > maxURL ||
		u.User.Username() == "" || !hostName(u.Hostname()) || !portOrNone(u) || strings.Contains(text, "#"):
		return errors.New("must be mysql://USER:PASSWORD@HOST:PORT/NAME, other characters of user and password than letters and digits as %XX")
	case !databaseName(strings.TrimPrefix(u.Path, "/")):
		return errors.New("must name a database behind the host: mysql://USER:PASSWORD@HOST:PORT/NAME, NAME of letters, digits, _ and -")
	}
	if err := parameters(u.RawQuery, map[string]func(string) bool{
		"tls": func(value string) bool { return slices.Contains([]string{"true", "skip-verify", "false"}, value) },
		"ca":  func(value string) bool { return value != "" && plain(value) },
	}, "tls=true, tls=skip-verify and tls=false, and with tls=true ca=FILE"); err != nil {
		return err
	}
	if query := u.Query(); query.Has("ca") && query.Get("tls") != "true" {
		return errors.New("must have tls=true with ca=FILE: the file is what the certificate of the server is checked against")
	}
	return nil
}

func portOrNone(u *url.URL) bool {
	return portNumber(u.Port()) || u.Port() == "" && !strings.HasSuffix(u.Host, ":")
}

// databaseName reports whether a text can be the name of a database wherever the product names it.
func databaseName(text string) bool {
	return text != "" && len(text) <= 64 && !strings.ContainsFunc(text, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// redisURL is redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS; several hosts, with commas between them,
// are a cluster, or with ?master_set=NAME the Sentinels of a set; ?ca=FILE names the CA of the certificates.
func redisURL(text string) error {
	malformed := errors.New("must be redis://HOST:PORT or rediss://HOST:PORT, with USER:PASSWORD@ before the host where it asks for one, " +
		"several hosts with commas between them for a cluster, ?master_set=NAME for Sentinel, and ?ca=FILE for a CA of your own")
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
			return errors.New("must have a number behind the host, or nothing: redis://HOST:PORT/0")
		}
		if len(list) > 1 {
			return errors.New("cannot have the number of a database behind several hosts: a cluster has one alone")
		}
	}
	return parameters(query, map[string]func(string) bool{
		"master_set": func(value string) bool { return value != "" && len(value) <= 255 },
		"ca":         func(file string) bool { return file != "" && scheme == "rediss" },
	}, "master_set=NAME, and with rediss:// ca=FILE")
}

// userInfo is USER:PASSWORD@ or nothing, each part percent-encoded where it must be.
func userInfo(text string) bool {
	if text == "" {
		return true
	}
	u, err := url.Parse("redis://" + text + "host")
	return err == nil && u.Hostname() == "host" && u.User != nil
}

// hostMaybePort is HOST or HOST:PORT, an IPv6 address in brackets.
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

// parameters are those behind the ? of an address, each at most once and with a value that may be.
func parameters(query string, known map[string]func(value string) bool, list string) error {
	values, err := url.ParseQuery(query)
	fit := err == nil
	for name, given := range values {
		fits := known[name]
		fit = fit && fits != nil && len(given) == 1 && fits(given[0])
	}
	if !fit {
		return errors.New("has a parameter behind its ? that is not known; there are " + list)
	}
	return nil
}

// keyPrefix begins keys in Redis. Braces would decide on which node of a cluster all of the keys are.
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
