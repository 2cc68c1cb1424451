package sqldb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/go-sql-driver/mysql"
)

// encrypt reads tls= and ca= of an address: the certificate of the server is checked against the authorities of the system,
// or against those in the file that ca= names alone.
func encrypt(c *mysql.Config, parameters url.Values) error {
	if c.TLSConfig = parameters.Get("tls"); c.TLSConfig == "" {
		c.TLSConfig = "false"
	}
	file := parameters.Get("ca")
	if file == "" {
		return nil
	}
	if c.TLSConfig != "true" {
		return errors.New("ca= in the address needs tls=true, which checks the server's certificate")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("the file of ca= in the address cannot be read (%w); check the path and its permissions", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return fmt.Errorf("the file %s of ca= in the address has no certificate in PEM form", file)
	}
	c.TLS = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	return nil
}
