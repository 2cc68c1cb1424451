package cli

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/config"
	"orderflow/test/env"
)

// builtVersion is the version of the binary under test.
const builtVersion = "v0.0.0-test"

// checkout is a copy of the repository in a temporary folder, built with make. Binaries and databases of the tests are created there, so that
// they do not affect the real repository.
var checkout string

func TestMain(m *testing.M) {
	var err error
	if checkout, err = newCheckout(); err != nil {
		fmt.Fprintln(os.Stderr, "the binary under test cannot be built:", err)
		os.Exit(1)
	}
	code := env.Run(m)
	if err := os.RemoveAll(checkout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// repository is the path of the root of the repository.
const repository = "../.."

func newCheckout() (folder string, err error) {
	if folder, err = os.MkdirTemp("", "orderflow-checkout-"); err != nil {
		return "", err
	}
	for _, name := range []string{"cmd", "internal", "scripts", "deploy", "Makefile", "go.mod", "go.sum", ".env.example"} {
		if err := copySources(folder, name); err != nil {
			return folder, err
		}
	}
	build := exec.Command("make", "build", "VERSION="+builtVersion)
	build.Dir, build.Env = folder, withoutSettings(os.Environ())
	if out, err := build.CombinedOutput(); err != nil {
		return folder, fmt.Errorf("make build: %w: %s", err, out)
	}
	return folder, nil
}

// copySources copies a file or a folder of the repository without test files, since other tests may be writing them.
func copySources(folder, name string) error {
	return filepath.WalkDir(filepath.Join(repository, name), func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(repository, file)
		target := filepath.Join(folder, below)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return fs.SkipDir
		case entry.IsDir():
			return os.Mkdir(target, 0o700)
		case strings.HasSuffix(file, "_test.go"):
			return nil
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}

// withoutSettings returns an environment without settings of the product, and without the variables of a calling make.
func withoutSettings(environ []string) []string {
	return slices.DeleteFunc(config.Without(environ), func(entry string) bool {
		return strings.HasPrefix(entry, "MAKE") || strings.HasPrefix(entry, "MFLAGS")
	})
}

// binary returns the path of the product, built by make build.
func binary() string { return filepath.Join(checkout, "bin", "orderflow") }
