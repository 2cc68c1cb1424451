package app

import (
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
