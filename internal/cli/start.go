package cli

import (
	"fmt"
	"strings"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// readyLine is the first line that a server prints when it listens. bench.StartProcess reads it.
const readyLine = "Orderflow %s is ready on %s"

// Lines about the data, printed at start.
const (
	samplesLine = "  Samples  five products; users alice@example.com, bob@example.com and charlie@example.com, password \"password\"\n"
	loginsLine  = "  Samples  users of the sample data can log in (%d), password \"password\"\n"
	emptyLine   = "  Empty  no products and no users yet. To add your own, see docs/integrate.md, \"Products and users\". To try it out: %s\n"
)

// startMessage is printed when a server listens: its addresses, and the settings that matter most to the operator.
func startMessage(version string, server *app.Server, s config.Settings) string {
	url := server.URL()
	if url == "" {
		url = "no address"
	}
	text := fmt.Sprintf(readyLine+"\n", version, url)
	if s.Roles.API {
		text += fmt.Sprintf("  Console  %s\n", server.ConsoleURL()) +
			fmt.Sprintf("  API  %s/api/v1/products   docs  %s/docs   metrics  %s/metrics\n", url, url, url)
	}
	if s.Roles.Realtime {
		text += fmt.Sprintf("  WebSockets  %s/app/%s\n", server.RealtimeURL(), s.RealtimeKey)
	}
	text += fmt.Sprintf("  Database  %s\n", s.Database)
	if s.Roles.API || s.Roles.Worker {
		text += "  Payments  " + payments(s.Gateway) + "\n"
	}
	if !s.Roles.API {
		return text
	}
	if s.Auth == config.AuthRequired {
		text += "  Access  with a token only (--auth required)\n"
	} else {
		text += "  Access  without a token, for any user (--auth optional)\n"
	}
	switch {
	case server.AddedSamples():
		text += samplesLine
	case server.SampleLogins() > 0:
		text += fmt.Sprintf(loginsLine, server.SampleLogins())
	case server.Empty():
		text += fmt.Sprintf(emptyLine, seedLine(s.Database))
	}
	return text
}

// seedLine is the command that adds the sample data to a database. A password in the address is shown as ***.
func seedLine(database config.URL) string {
	return "orderflow seed --database " + shellQuote(database.String())
}

// payments describes the gateway, without password and parameters, which may be secret.
func payments(gateway string) string {
	if gateway == config.GatewaySimulated {
		return "SIMULATED: no provider is called and no money is taken. For real payments set --gateway"
	}
	address, _, _ := strings.Cut(gateway, "?")
	return config.NewURL(address).String()
}
