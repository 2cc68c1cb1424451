package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// builtVersion is what the binary under test calls itself.
const builtVersion = "v0.0.0-test"

// checkout is a copy of the repository in a temporary folder, built as the documents say. What the tests make there
// (binaries, databases) is gone afterwards, and a server that runs from the real checkout is not disturbed.
var checkout string

func TestMain(m *testing.M) {
	var err error
	if checkout, err = newCheckout(); err != nil {
		fmt.Fprintln(os.Stderr, "the binary under test cannot be built:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(checkout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// repository is the root of the repository, seen from this package.
const repository = "../.."

func newCheckout() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "orderflow-checkout-"); err != nil {
		return "", err
	}
	for _, name := range []string{"cmd", "internal", "scripts"} {
		if err := os.CopyFS(filepath.Join(folder, name), os.DirFS(filepath.Join(repository, name))); err != nil {
			return folder, err
		}
	}
	for _, name := range []string{"Makefile", "go.mod", "go.sum", ".env.example"} {
		data, err := os.ReadFile(filepath.Join(repository, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o600)
		}
		if err != nil {
			return folder, err
		}
	}
	build := exec.Command("make", "build", "VERSION="+builtVersion)
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		return folder, fmt.Errorf("make build: %w: %s", err, out)
	}
	return folder, nil
}

// binary is the product, as make build leaves it.
func binary() string { return filepath.Join(checkout, "bin", "orderflow") }
