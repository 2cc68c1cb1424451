package chaos

import (
	"os"
	"testing"
	"time"

	"orderflow/test/env"
)

// binaryEnv names the server's binary to a test that runs in a child of this process.
const binaryEnv = "ORDERFLOW_CHAOS_BINARY"

func TestMain(m *testing.M) { os.Exit(env.Run(m)) }

// binary returns the path of the server's binary, which detects data races if this test does.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(binaryEnv); path != "" {
		return path
	}
	if raced {
		return env.Product(t, "-race")
	}
	return env.Product(t)
}

// span returns how long a test runs: ORDERFLOW_SOAK, else its default.
func span(t *testing.T, short time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("ORDERFLOW_SOAK")
	if text == "" {
		return short
	}
	long, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("ORDERFLOW_SOAK: %v", err)
	}
	return long
}
