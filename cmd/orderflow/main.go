// Command orderflow is the order engine: server, tools and load driver in one binary. See orderflow --help.
package main

import (
	"os"

	"orderflow/internal/cli"
)

func main() { os.Exit(cli.Main()) }
