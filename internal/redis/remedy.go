package redis

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/redis/rueidis"
)

// code returns the error code of an answer of Redis, its first word; "" when the error is not an answer of Redis.
func code(err error) string {
	if _, ok := errors.AsType[wrongTypeError](err); ok {
		return "WRONGTYPE"
	}
	answer, ok := errors.AsType[*rueidis.RedisError](err)
	if !ok {
		return ""
	}
	text := answer.Error() // without a leading ERR
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

// remedy returns what happened and what to do about it. It quotes nothing from the server, whose words may name users and keys.
func remedy(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "Its TLS certificate is not trusted: name the CA with ?ca=FILE in --redis."
	}
	_, unknown := errors.AsType[*net.DNSError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case unknown, errors.Is(err, syscall.ECONNREFUSED):
		return "It does not answer: check the address in --redis, and that the server runs."
	case noTLS:
		return "It does not use TLS as --redis says: use rediss:// for a server with TLS, and redis:// for one without."
	}
	switch code(err) {
	case "":
		return "It does not answer in time: check that it runs, that --redis names it, and that a server with TLS has rediss://."
	case "NOPERM":
		return "The user in --redis lacks a permission (NOPERM): grant the permissions in docs/operations/configure.md under \"Rights\"."
	case "UNKNOWN":
		return "It does not know a command: use Redis 7 and neither rename nor disable commands."
	case "NOAUTH", "WRONGPASS":
		return "It refuses the user or the password: correct them in --redis."
	case "WRONGTYPE":
		return "A key of Orderflow has another type (WRONGTYPE): delete the key, and give each program its own --redis-prefix or its own Redis."
	case "OOM":
		return "Its memory is full (OOM): raise maxmemory, or delete data of other programs."
	case "MISCONF":
		return "It cannot write to its disk (MISCONF): free disk space."
	case "READONLY":
		return "It is a replica and accepts no writes (READONLY): name the master or the Sentinels in --redis."
	case "LOADING":
		return "It is loading its data (LOADING): wait until it has finished."
	case "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "MOVED", "ASK", "TRYAGAIN":
		return "A master or a replica is missing, or slots are being moved: check the state of the cluster."
	}
	return "See its answer in the log: the events redis.down and redis.operation_failed."
}
