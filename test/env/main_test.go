package env_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"orderflow/test/env"
)

func TestMain(m *testing.M) {
	code := env.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
