package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// addr reads HOST:PORT with a numeric port, or off. An empty host means all addresses of the machine.
func addr() codec[Addr] {
	return codec[Addr]{
		parse: func(text string) (Addr, error) {
			if Addr(text) == AddrOff {
				return AddrOff, nil
			}
			host, port, err := net.SplitHostPort(text)
			if err != nil || !portNumber(port) || (host != "" && !hostName(host)) {
				return "", mustBe("HOST:PORT, such as 127.0.0.1:8000, or off", text)
			}
			return Addr(text), nil
		},
		print: func(value Addr) string { return string(value) },
	}
}

// listenAddr reads HOST:PORT with a numeric port.
func listenAddr() codec[Addr] {
	address := addr()
	return codec[Addr]{
		parse: func(text string) (Addr, error) {
			value, err := address.parse(text)
			if err != nil || value == AddrOff {
				return "", mustBe("HOST:PORT, such as 127.0.0.1:8080", text)
			}
			return value, nil
		},
		print: address.print,
	}
}

// pathSegment reads a name that is used in URLs.
func pathSegment() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			letter := func(r rune) bool {
				return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
			}
			if text == "" || len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool { return !letter(r) }) {
				return "", mustBe("1 to 64 letters, digits, - and _", text)
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}

func portNumber(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && digits(text) && text == strconv.FormatUint(n, 10)
}

// hostName reports whether a text is an IP address or a possible host name.
func hostName(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return plain(text)
	}
	if text == "" || len(text) > 253 || strings.Contains(text, "..") || strings.HasPrefix(text, ".") {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	})
}

// network reads a CIDR whose address has no bits beyond the prefix. 10.0.0.1/8 is refused, since 10.0.0.1/32 may have been meant and
// the network decides which proxies are trusted.
func network() codec[netip.Prefix] {
	return codec[netip.Prefix]{
		parse: func(text string) (netip.Prefix, error) {
			prefix, err := netip.ParsePrefix(text)
			if err != nil || prefix.Addr().Is4In6() {
				return netip.Prefix{}, mustBe("a network in CIDR form, such as 10.0.0.0/8 or 192.0.2.7/32", text)
			}
			if prefix != prefix.Masked() {
				return netip.Prefix{}, mustBe(fmt.Sprintf("%s or %s/%d", prefix.Masked(), prefix.Addr(), prefix.Addr().BitLen()), text)
			}
			return prefix, nil
		},
		print: netip.Prefix.String,
	}
}

// originSchemes are the schemes of the origins of web pages, and of apps in a web view.
func originSchemes() []string { return []string{"http", "https", "capacitor", "ionic", "tauri"} }

// origin reads a web origin and returns it as browsers send it: in lower case, without the scheme's default port.
func origin() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			u, err := url.Parse(text)
			if err != nil || !slices.Contains(originSchemes(), u.Scheme) || u.Host == "" || !hostName(u.Hostname()) ||
				(u.Port() == "" && strings.HasSuffix(u.Host, ":")) || (u.Port() != "" && !portNumber(u.Port())) ||
				text[len(u.Scheme):] != "://"+u.Host {
				return "", mustBe("an origin without a path, such as https://shop.example, or capacitor://localhost for an app", text)
			}
			if u.Port() != "" && u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
				u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
			}
			return u.Scheme + "://" + strings.ToLower(u.Host), nil
		},
		print: func(value string) string { return value },
	}
}

// gateway reads GatewaySimulated or the URL of a payment provider. The URL may not contain a password, so that it can be logged.
func gateway() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if text == GatewaySimulated {
				return text, nil
			}
			u, err := url.Parse(text)
			if err == nil && u.User != nil {
				return "", errors.New("must not contain a user or password; set --gateway-secret, which signs the calls")
			}
			if err != nil || !service(u, text) {
				return "", errors.New("must be simulated, or the URL of a payment provider, such as https://pay.example/v1")
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}

// service reports whether u, which was parsed from text, is the URL of an HTTP service.
func service(u *url.URL, text string) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && hostName(u.Hostname()) && !strings.Contains(text, "#") &&
		(u.Port() == "" || portNumber(u.Port())) && plain(text) && len(text) <= 4096
}

// endpoint reads the base URL of a receiver of traces, or no value.
func endpoint() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if text == "" {
				return text, nil
			}
			u, err := url.Parse(text)
			if err != nil || !service(u, text) || u.User != nil || u.RawQuery != "" {
				return "", errors.New("must be the base URL of an OTLP receiver, such as http://127.0.0.1:4318; " +
					"set credentials in OTEL_EXPORTER_OTLP_HEADERS")
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}
