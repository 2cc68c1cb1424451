package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"orderflow/internal/lock"
	"orderflow/internal/redis"
	"orderflow/test/env"
	"orderflow/test/servers"
)

// certificate writes the certificate of a CA, and a certificate of that CA for this machine with its key. It returns their paths.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of the shop"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: issuer.NotBefore, NotAfter: issuer.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	issuerKey, err1 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	serverKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	issued, err1 := x509.CreateCertificate(rand.Reader, issuer, issuer, &issuerKey.PublicKey, issuerKey)
	served, err2 := x509.CreateCertificate(rand.Reader, server, issuer, &serverKey.PublicKey, issuerKey)
	secret, err3 := x509.MarshalECPrivateKey(serverKey)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", issued), write("cert.pem", "CERTIFICATE", served), write("key.pem", "EC PRIVATE KEY", secret)
}

// TestPasswordAndTLS: with the right password and CA, locks work over TLS. With a wrong one, Redis counts as down and no error shows the
// password.
func TestPasswordAndTLS(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificate(t)
	otherCA, _, _ := certificate(t)
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	server, err := servers.Redis(t.Context(), env.Folder(t), "--requirepass", "secret", "--tls-port", fmt.Sprint(port),
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca, "--tls-auth-clients", "no")
	env.Started(t, server, err)
	for address, works := range map[string]bool{
		"redis://:secret@" + server.Addr():                                true,
		fmt.Sprintf("rediss://:secret@127.0.0.1:%d?ca=%s", port, ca):      true,
		"redis://:swordfish@" + server.Addr():                             false,
		"redis://" + server.Addr():                                        false,
		fmt.Sprintf("rediss://:secret@127.0.0.1:%d", port):                false,
		fmt.Sprintf("rediss://:secret@127.0.0.1:%d?ca=%s", port, otherCA): false,
	} {
		if works {
			takes(t, redis.NewLocker(connected(t, address, fmt.Sprint(len(address))), lock.TTL, nil), 1)
			continue
		}
		c, err := redis.New(address, redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Connect(t.Context())
		reason := c.Reason()
		c.Close()
		if err == nil || c.Up() || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%s: %v, up %t", address, err, c.Up())
		}
		if strings.HasPrefix(address, "rediss") && !strings.Contains(reason, "?ca=FILE") {
			t.Errorf("%s: the reason is %q", address, reason)
		}
	}
}
