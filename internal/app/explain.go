package app

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

	"orderflow/internal/order"
)

// listenError says why a server cannot listen on an address that a flag names, and what to do.
func listenError(what, flag, addr string, err error) error {
	cause := strings.TrimPrefix(err.Error(), "listen tcp "+addr+": ")
	remedy := "Stop what uses it, or choose another " + flag + "."
	if _, unknown := errors.AsType[*net.DNSError](err); unknown || errors.Is(err, syscall.EADDRNOTAVAIL) {
		remedy = "This machine has no such address; choose another " + flag + "."
	}
	if errors.Is(err, syscall.EACCES) {
		remedy = "Ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, or choose another " + flag + "."
	}
	return order.Errorf(order.CodeUnavailable, "Cannot listen %son %s: %s. %s", what, addr, cause, remedy)
}

// explainRedis adds what to do to the error of a Redis that cannot be used.
func explainRedis(err error) string {
	text := strings.TrimSuffix(strings.Join(strings.Fields(err.Error()), " "), ".")
	_, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"):
		return text + "; check user and password in --redis"
	case strings.Contains(text, "tls: "), errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "EOF"):
		return text + "; check the address, and that --redis begins with rediss:// where the server has TLS, and with redis:// where it has none"
	case unknown, errors.Is(err, syscall.ECONNREFUSED):
		return text + "; check the address in --redis, and that the server runs"
	default:
		return text
	}
}
