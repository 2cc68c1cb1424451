package cli

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
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"orderflow/test/env"
	"orderflow/test/servers"
)

// authority is a CA; file has its certificate.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string
}

func newAuthority(t *testing.T, folder, name string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(folder, name+".pem")}
	a.certificate, a.key = certify(t, a.file, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	return a
}

// certify writes a certificate that is valid for two hours, and its key as NAME.key. A nil signer makes it self-signed.
func certify(t *testing.T, file string, template *x509.Certificate, signer *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if signer == nil {
		signer = &authority{certificate: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, &key.PublicKey, signer.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{file: {Type: "CERTIFICATE", Bytes: der}, file + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o644); err != nil { // readable for the user of the server
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// encrypted starts a MariaDB server with a certificate for 127.0.0.1 only. It returns HOST:PORT and the authority of the certificate.
func encrypted(t *testing.T, flags ...string) (addr string, by *authority) {
	t.Helper()
	folder := env.Folder(t)
	by = newAuthority(t, folder, "authority")
	file := filepath.Join(folder, "server.pem")
	certify(t, file, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, by)
	server, err := servers.MariaDB(t.Context(), folder, append([]string{"--ssl-cert=" + file, "--ssl-key=" + file + ".key"}, flags...)...)
	return env.Started(t, server, err).Addr(), by
}

// runBinary runs the binary and returns its exit code, output and error output.
func runBinary(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary(), args...)
	command.Env = append(withoutSettings(os.Environ()), env...)
	var out, messages strings.Builder
	command.Stdout, command.Stderr = &out, &messages
	err := command.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), messages.String()
}

// A certificate of a private authority is accepted when the settings name the authority, with ca= or as an authority of the system.
func TestPrivateAuthority(t *testing.T) {
	t.Parallel()
	addr, by := encrypted(t, "--require-secure-transport=ON")
	base := "mysql://root@" + addr + "/shop"
	for name, c := range map[string]struct{ env, address string }{
		"in the address":     {"", base + "?tls=true&ca=" + by.file},
		"in the environment": {"SSL_CERT_FILE=" + by.file, base + "?tls=true"},
		"not checked":        {"", base + "?tls=skip-verify"},
	} {
		if code, out, stderr := runBinary(t, []string{c.env}, "migrate", "up", "--database", c.address); code != 0 || stderr != "" {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, stderr)
		}
	}
}

// The error of a server that cannot use its database is one line with the cause and the remedy, without the password.
func TestStartUpErrors(t *testing.T) {
	t.Parallel()
	addr, by := encrypted(t)
	admin := env.Admin(t, "mysql://root@"+addr+"/")
	for _, statement := range []string{
		"CREATE DATABASE shop", "CREATE DATABASE other", "CREATE TABLE other.t (i INT)",
		"CREATE USER poor@'127.0.0.1' IDENTIFIED BY 'hunter2'",
		"CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'hunter2'", "GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
		"CREATE USER careful@'127.0.0.1' IDENTIFIED BY 'hunter2' REQUIRE SSL", "GRANT ALL ON shop.* TO careful@'127.0.0.1'",
	} {
		if _, err := admin.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	folder, free := t.TempDir(), freePort(t)
	stranger := newAuthority(t, folder, "stranger")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		database string
		code     int
		want     string
	}{
		"nobody listens":       {"mysql://root:hunter2@127.0.0.1:" + free + "/shop", 1, "the connection was refused; check the address and that the server runs"},
		"unknown host":         {"mysql://root:hunter2@nowhere.invalid/shop", 1, "the host nowhere.invalid cannot be looked up .*; check the address"},
		"unknown user":         {"mysql://stranger:hunter2@" + addr + "/shop", 1, "the server refuses the user .*'stranger'.*; check user and password"},
		"wrong password":       {"mysql://poor:hunter3@" + addr + "/shop", 1, "the server refuses the user .*'poor'.*; check user and password"},
		"no right at all":      {"mysql://poor:hunter2@" + addr + "/shop", 1, "the user has no right to the database .*'shop'.*; create the database and grant"},
		"no right to create":   {"mysql://poor:hunter2@" + addr + "/new", 1, "the user has no right to the database .*'new'.*; create the database and grant"},
		"no right to migrate":  {"mysql://reader:hunter2@" + addr + "/shop", 1, "the user lacks a right .*CREATE command denied.*; grant it. docs/operations/configure.md"},
		"tables of another":    {"mysql://root@" + addr + "/other", 1, "tables of another program; give Orderflow a database of its own"},
		"account wants TLS":    {"mysql://careful:hunter2@" + addr + "/shop", 1, `add \?tls=true where the server requires encryption`},
		"unknown authority":    {"mysql://root:hunter2@" + addr + "/shop?tls=true", 1, "signed by an authority that is not known here; name the file .*ca=FILE"},
		"wrong authority":      {"mysql://root:hunter2@" + addr + "/shop?tls=true&ca=" + stranger.file, 1, "not signed by an authority in the file of ca=; check the file"},
		"name of another":      {"mysql://root:hunter2@localhost:" + port + "/shop?tls=true&ca=" + by.file, 1, "not for the host in the address .*; name the host as the certificate does"},
		"no file of authority": {"mysql://root:hunter2@" + addr + "/shop?tls=true&ca=" + folder + "/none.pem", 1, `ca= in the address cannot be read .*no such file.*; check the path`},
		"key for authority":    {"mysql://root:hunter2@" + addr + "/shop?tls=true&ca=" + by.file + ".key", 1, "has no certificate in PEM form"},
		"authority, no TLS":    {"mysql://root:hunter2@" + addr + "/shop?ca=" + by.file, 2, "must have tls=true with ca=FILE"},
		"roles without a bus":  {"mysql://root:hunter2@" + addr + "/shop", 2, "--roles api over MySQL .* needs --redis"},
		"folder":               {"sqlite:" + folder, 1, "it is a folder; name a file in it"},
		"no such folder":       {"sqlite:" + folder + "/none/shop.db", 1, "the folder .* does not exist; create it, or check the path"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"serve", "--addr", "127.0.0.1:0", "--realtime-addr", "127.0.0.1:0", "--database", c.database}
			if strings.HasPrefix(name, "roles") {
				args = append(args, "--roles", "api")
			}
			code, out, stderr := runBinary(t, nil, args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if out != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "orderflow: ") {
				t.Errorf("it printed more than one line of error: %s%s", out, stderr)
			}
			if !regexp.MustCompile(c.want).MatchString(stderr) {
				t.Errorf("got %s\nwant %s", stderr, c.want)
			}
			if strings.Contains(stderr, "hunter") {
				t.Errorf("the error shows the password: %s", stderr)
			}
		})
	}
}

// freePort returns a loopback port without a listener.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(port)
}

// A server starts when Redis cannot be used, and logs the cause and the remedy.
func TestStartUpWithoutRedis(t *testing.T) {
	t.Parallel()
	started, err := servers.Redis(t.Context(), env.Folder(t))
	addr := env.Started(t, started, err).Addr()
	env.Command(t, addr, "CONFIG", "SET", "requirepass", "secret")
	for name, c := range map[string]struct{ address, want string }{
		"nobody listens": {"redis://127.0.0.1:" + freePort(t), "connection refused.*check the address in --redis"},
		"unknown host":   {"redis://nowhere.invalid", "check the address in --redis"},
		"no password":    {"redis://" + addr, "NOAUTH.*refuses the user or the password"},
		"wrong password": {"redis://u:hunter2@" + addr, "WRONGPASS.*refuses the user or the password"},
		"no TLS there":   {"rediss://u:hunter2@" + addr, "use rediss:// for a server with TLS|a server with TLS has rediss://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := runBinary(t, []string{"REDIS_URL=" + c.address}, "serve", "--roles", "worker", "--addr", "off", "--max-time", "1ms",
				"--log-format", "json", "--database", "sqlite:"+filepath.Join(t.TempDir(), "shop.db"))
			if code != 0 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			if line := regexp.MustCompile(`.*"event":"redis.down".*`).FindString(stderr); !regexp.MustCompile(c.want).MatchString(line) {
				t.Errorf("got %s\nwant a line of the event redis.down with %s", stderr, c.want)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("the log shows the password: %s", stderr)
			}
		})
	}
}
