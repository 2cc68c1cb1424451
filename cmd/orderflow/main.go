// Command orderflow is the order engine: server, commands and load driver in one binary. See orderflow --help.
package main

import (
	"os"

	"orderflow/internal/cli"
)

// version is the release, set by the linker; "" for a build without make.
var version string

func main() { os.Exit(cli.Main(version)) }
