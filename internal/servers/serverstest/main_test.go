package serverstest_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"orderflow/internal/servers/serverstest"
)

func TestMain(m *testing.M) {
	code := serverstest.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
