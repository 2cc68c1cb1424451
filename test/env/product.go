package env

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Product builds the product with more flags of go build, once for each set of flags, and returns the path of the binary. Every user
// may read it. As in a release, it needs no C library, except under the race detector.
func Product(t testing.TB, flags ...string) string {
	t.Helper()
	path, err := binary.build(flags)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *shared) build(flags []string) (string, error) {
	dir, err := s.dir()
	if err != nil {
		return "", err
	}
	s.building.Lock()
	defer s.building.Unlock()
	key := strings.Join(flags, " ")
	if path := s.built[key]; path != "" {
		return path, nil
	}
	folder, err := os.MkdirTemp(dir, "product-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(folder, "orderflow")
	command := exec.Command("go", append([]string{"build", "-o", path}, append(slices.Clone(flags), "orderflow/cmd/orderflow")...)...)
	if !slices.Contains(flags, "-race") {
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, output)
	}
	s.built[key] = path
	return path, nil
}

// SharedFolder is a folder that every user may look into. It is deleted when the test binary ends.
func SharedFolder(t testing.TB) string {
	t.Helper()
	dir, err := binary.dir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
