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

// addr is HOST:PORT with a numeric port, or off. No host means every address of the machine.
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

// listenAddr is HOST:PORT with a numeric port.
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

// pathSegment is a name that stands in addresses.
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

// hostName reports whether a text is an IP address or may be the name of a host.
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

// network is a CIDR whose address has no bits beyond the prefix: 10.0.0.1/8 may have been meant as 10.0.0.1/32, and the
// difference is whom to believe.
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

// originSchemes are the schemes of origins: those of web pages, and those of apps in a web view, which have them instead.
func originSchemes() []string { return []string{"http", "https", "capacitor", "ionic", "tauri"} }

// origin is a web origin as browsers send it: lower case, without the port that goes with the scheme.
func origin() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			u, err := url.Parse(text)
			if err != nil || !slices.Contains(originSchemes(), u.Scheme) || u.Host == "" || !hostName(u.Hostname()) ||
				(u.Port() == "" && strings.HasSuffix(u.Host, ":")) || (u.Port() != "" && !portNumber(u.Port())) ||
				text[len(u.Scheme):] != "://"+u.Host {
				return "", mustBe("an origin without a path, such as https://shop.example or, of an app, capacitor://localhost", text)
			}
			if u.Port() != "" && u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
				u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
			}
			return u.Scheme + "://" + strings.ToLower(u.Host), nil
		},
		print: func(value string) string { return value },
	}
}

// gateway is the product's own gateway, or the address of another. The address may not carry a password, so that it
// can be logged.
func gateway() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if text == GatewaySimulated {
				return text, nil
			}
			u, err := url.Parse(text)
			if err == nil && u.User != nil {
				return "", errors.New("must not carry a user or password in its address; --gateway-secret signs the calls")
			}
			if err != nil || !service(u, text) {
				return "", errors.New("must be simulated, or the address of a payment provider, such as https://pay.example/v1")
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}

// service reports whether u, which text was read as, is the address of something that is called over HTTP.
func service(u *url.URL, text string) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && hostName(u.Hostname()) && !strings.Contains(text, "#") &&
		(u.Port() == "" || portNumber(u.Port())) && plain(text) && len(text) <= 4096
}

// endpoint is the base address of a receiver of traces, or nothing.
func endpoint() codec[string] {
	return codec[string]{
		parse: func(text string) (string, error) {
			if text == "" {
				return text, nil
			}
			u, err := url.Parse(text)
			if err != nil || !service(u, text) || u.User != nil || u.RawQuery != "" {
				return "", errors.New("must be the base address of an OTLP receiver, such as http://127.0.0.1:4318; " +
					"what it wants to know of its senders goes into OTEL_EXPORTER_OTLP_HEADERS")
			}
			return text, nil
		},
		print: func(value string) string { return value },
	}
}
