package cli

import (
	"fmt"
	"strings"

	"orderflow/internal/app"
	"orderflow/internal/config"
)

// readyLine is what a server prints when it listens; bench and demo read it from their children.
const readyLine = "Orderflow %s is ready on %s"

// What a server prints of its data at start.
const (
	samplesLine = "  Samples  five products; users alice@example.com, bob@example.com and charlie@example.com, password \"password\"\n"
	loginsLine  = "  Samples  users of the sample data can log in (%d), password \"password\"\n"
	emptyLine   = "  Empty  no products and no users yet. For your own see docs/integrate.md, \"Products and users\". To try it out: %s\n"
)

// startMessage is what a server prints when it listens: where it is, and which settings a person must not be wrong about.
func startMessage(version string, server *app.Server, s config.Settings) string {
	where := server.URL()
	if where == "" {
		where = "no address"
	}
	text := fmt.Sprintf(readyLine+"\n", version, where)
	if s.Roles.API {
		text += fmt.Sprintf("  Console  %s\n", server.ConsoleURL()) +
			fmt.Sprintf("  API  %s/api/v1/products   docs  %s/docs   metrics  %s/metrics\n", where, where, where)
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
		text += fmt.Sprintf(emptyLine, seedCommand(s.Database))
	}
	return text
}

// seedCommand is the command that adds the sample data to a database. A password in the address is shown as ***.
func seedCommand(database config.URL) string {
	return "orderflow seed --database " + quoted(database.String())
}

// payments names the gateway of a server, without a password and without parameters, which may be secret.
func payments(gateway string) string {
	if gateway == config.GatewaySimulated {
		return "SIMULATED: no provider is called and no money is taken. For real payments set --gateway"
	}
	address, _, _ := strings.Cut(gateway, "?")
	return config.NewURL(address).String()
}
