package redis

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/redis/rueidis"
)

// code returns the word by which Redis names the kind of an error; "" when the error is not an answer of Redis.
func code(err error) string {
	if _, ok := errors.AsType[wrongTypeError](err); ok {
		return "WRONGTYPE"
	}
	answer, ok := errors.AsType[*rueidis.RedisError](err)
	if !ok {
		return ""
	}
	text := answer.Error() // without an ERR that begins it
	switch {
	case strings.HasPrefix(text, "The user executing the script can't"): // run a command, access a key, publish to a channel
		return "NOPERM"
	case strings.HasPrefix(text, "unknown command"), strings.HasPrefix(text, "Unknown Redis command"):
		return "UNKNOWN"
	case strings.HasPrefix(text, "no such key"):
		return "NOKEY"
	}
	word, _, _ := strings.Cut(text, " ")
	return word
}

// remedy says what to do about an error. It has none of the server's words in it: these may name users and keys.
func remedy(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "Its certificate is not trusted: name the CA in --redis by ?ca=FILE."
	}
	_, unknown := errors.AsType[*net.DNSError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case unknown, errors.Is(err, syscall.ECONNREFUSED):
		return "It does not answer: check the address in --redis, and that the server runs."
	case noTLS:
		return "It does not speak as expected: --redis has to begin with rediss:// where the server has TLS, and with redis:// elsewhere."
	}
	switch code(err) {
	case "":
		return "It does not answer in time: check that it runs, that --redis names it, and that it begins with rediss:// where there is TLS."
	case "NOPERM":
		return "Its user lacks a right (NOPERM): grant what docs/operations/configure.md lists under \"Rights\"."
	case "UNKNOWN":
		return "It does not know a command: Orderflow needs Redis 7 with no command renamed or disabled."
	case "NOAUTH", "WRONGPASS":
		return "It does not accept the user or the password in --redis."
	case "WRONGTYPE":
		return "A key of Orderflow's holds another type (WRONGTYPE): delete it, and give each program a --redis-prefix or a Redis of its own."
	case "OOM":
		return "Its memory is full (OOM): raise maxmemory, and delete what does not belong there."
	case "MISCONF":
		return "It cannot write to its disk (MISCONF): free space there."
	case "READONLY":
		return "It is a replica, which takes no writes (READONLY): name the master in --redis, or the Sentinels."
	case "LOADING":
		return "It is loading its data (LOADING): wait until it has."
	case "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "MOVED", "ASK", "TRYAGAIN":
		return "A master or a replica is missing, or slots are being moved: check the cluster's state."
	}
	return "The log has its answer: look for redis.down and redis.operation_failed."
}
