package sqldb

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// explainConnecting makes an error of a connection that could not be made one clear line; "" for another error.
func (d *mysqlDialect) explainConnecting(err error) string {
	if errors.Is(err, mysql.ErrNoTLS) {
		return "the server has no TLS; configure its certificate, or remove tls= from the address."
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if d.server.config.TLS != nil {
			return "the certificate of the server is not signed by an authority in the file of ca=; check the file, or that this is the server."
		}
		return "the certificate of the server is signed by an authority that is not known here; name the file with the certificate of " +
			"that authority: ?tls=true&ca=FILE."
	}
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Sprintf("the certificate of the server is not for the host in the address (%s); name the host as the certificate does.",
			oneLine(wrong))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return fmt.Sprintf("the certificate of the server is not valid (%s); renew it.", oneLine(invalid))
	}
	if unknown, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("the host %s cannot be looked up (%s); check the address and the name server.", unknown.Name, unknown.Err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "the connection was refused; check the address and that the server runs."
	}
	return ""
}

// explainRefusal makes an error by which the server rejects this user one clear line; "" for another error. The server's text names
// the user and the right, never the password.
func (d *mysqlDialect) explainRefusal(e *mysql.MySQLError) string {
	switch e.Number {
	case 1045, 1130, 1698, 1820, 1862, 3118, 4151: // wrong password or host, a locked account, an expired password
		hint := ""
		if d.server.config.TLSConfig == "false" {
			hint = ", and add ?tls=true where the server requires encryption"
		}
		return fmt.Sprintf("the server refuses the user (%s); check user and password%s.", oneLine(e), hint)
	case 1044:
		return fmt.Sprintf("the user has no right to the database (%s); create the database and grant the user its rights.", oneLine(e))
	case 1142, 1143, 1227, 1370:
		return fmt.Sprintf("the user lacks a right (%s); grant it. docs/operations/configure.md names the rights that are needed.", oneLine(e))
	case 3159:
		return "the server requires encryption; add ?tls=true to the address."
	}
	return ""
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
