// Command orderflow is the order engine: server, tools and load driver in one binary. See orderflow --help.
package main

import (
	"os"

	"orderflow/internal/cli"
)

// version is the release, set by the linker; "" for a build from a checkout.
var version string

func main() { os.Exit(cli.Main(version)) }
