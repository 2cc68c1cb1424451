package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
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
	"orderflow/internal/servers"
	"orderflow/internal/servers/serverstest"
)

// certificate writes a certificate for this machine and its key, and returns their paths.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestPasswordAndTLS: with the right password, over TLS, locks work; with a wrong one, or a certificate that nobody vouches
// for, Redis counts as down, and no error shows the password.
func TestPasswordAndTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	server, err := servers.Redis(t.Context(), serverstest.Folder(t), "--requirepass", "secret", "--tls-port", fmt.Sprint(port),
		"--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	serverstest.Started(t, server, err)
	for address, works := range map[string]bool{
		"redis://:secret@" + server.Addr():                                  true,
		fmt.Sprintf("rediss://:secret@127.0.0.1:%d?skip_verify=true", port): true,
		"redis://:swordfish@" + server.Addr():                               false,
		"redis://" + server.Addr():                                          false,
		fmt.Sprintf("rediss://:secret@127.0.0.1:%d", port):                  false,
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
		c.Close()
		if err == nil || c.Up() || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%s: %v, up %t", address, err, c.Up())
		}
	}
}
