package bench

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// failureKind names the reason for a missing answer, for counting.
func failureKind(err error) string {
	var network *net.OpError
	switch {
	case errors.Is(err, errMalformed):
		return "malformed"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection lost"
	case errors.As(err, &network):
		return "network error"
	default:
		return "other"
	}
}
