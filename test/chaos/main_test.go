package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"orderflow/test/env"
)

// patience bounds every wait. Nothing takes that long unless it is broken.
const patience = time.Minute

// binaryEnv tells a test that runs in a child of this process where the server's binary is.
const binaryEnv = "ORDERFLOW_CHAOS_BINARY"

// folder is where the binary is built; everybody may look into it, since some servers run as nobody.
var folder string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "orderflow-chaos")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	folder = dir
	code := env.Run(m)
	_ = os.RemoveAll(dir) // what is left is the system's to clear away
	os.Exit(code)
}

// binary is the path of the server's binary, built when it is first wanted.
func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(binaryEnv); path != "" {
		return path, nil
	}
	path := filepath.Join(folder, "orderflow")
	args := []string{"build", "-o", path}
	if raced {
		args = append(args, "-race")
	}
	command := exec.Command("go", append(args, "orderflow/cmd/orderflow")...)
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	return path, nil
})

// span is how long a test goes on: ORDERFLOW_SOAK, or what it takes by default.
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
