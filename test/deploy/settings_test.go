package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"orderflow/internal/config"
)

// delivered are the files by which the product is run, by their paths in the repository.
func delivered(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, name := range []string{"Dockerfile", "compose.yaml", ".env.docker.example"} {
		found[name] = read(t, name)
	}
	for _, dir := range []string{"deploy", ".github"} {
		err := filepath.WalkDir(filepath.Join(repository, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(repository, path)
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			found[filepath.ToSlash(name)] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// Each setting that a file gives to the product is one that it has.
func TestSettingsExist(t *testing.T) {
	t.Parallel()
	flags, names := map[string]bool{}, map[string]bool{"ORDERFLOW_TEST_MYSQL": true, "ORDERFLOW_TEST_REDIS": true} // those of the tests
	for _, setting := range config.Table() {
		flags["--"+setting.Flag], names[setting.Env] = true, true
	}
	name := regexp.MustCompile(`\b(ORDERFLOW_[A-Z_]+|DATABASE_(URL|READ_URL|POOL)|REDIS_(URL|PREFIX))\b`)
	serve := regexp.MustCompile(`\bserve\b.*`)
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	counted := 0
	for file, text := range delivered(t) {
		for _, used := range name.FindAllString(text, -1) {
			counted++
			if !names[used] {
				t.Errorf("%s names %s, which is no setting", file, used)
			}
		}
		for _, line := range serve.FindAllString(text, -1) {
			for _, used := range flag.FindAllString(line, -1) {
				counted++
				if !flags[used] {
					t.Errorf("%s starts a server with %s, which is no flag", file, used)
				}
			}
		}
	}
	if counted < 30 {
		t.Errorf("%d settings were found: this test does not read the files right", counted)
	}
}

// What compose.yaml wants to know stands in the example, and the other way round.
func TestComposeVariables(t *testing.T) {
	t.Parallel()
	wanted := []string{"VERSION"} // of make up
	for _, match := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(read(t, "compose.yaml"), -1) {
		if !slices.Contains(wanted, match[1]) {
			wanted = append(wanted, match[1])
		}
	}
	given := []string{"VERSION"}
	for _, match := range regexp.MustCompile(`(?m)^([A-Z_]+)=`).FindAllStringSubmatch(read(t, ".env.docker.example"), -1) {
		given = append(given, match[1])
	}
	slices.Sort(wanted)
	slices.Sort(given)
	if !slices.Equal(wanted, given) {
		t.Errorf("compose.yaml uses %v\n.env.docker.example has %v", wanted, given)
	}
}

// make setup draws each secret once.
func TestSetup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "scripts/setup.sh")
	if err := os.WriteFile(script, []byte(read(t, "scripts/setup.sh")), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".env.docker.example", read(t, ".env.docker.example"))
	run := func() string {
		t.Helper()
		said := command(t, nil, "bash", script)
		info, err := os.Stat(filepath.Join(dir, ".env"))
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf(".env has the mode %v", info.Mode())
		}
		data, err := os.ReadFile(filepath.Join(dir, ".env"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := run()
	secrets := regexp.MustCompile(`(?m)^[A-Z_]+(?:PASSWORD|SECRET)=([0-9a-f]{48})$`).FindAllStringSubmatch(first, -1)
	drawn := map[string]bool{}
	for _, match := range secrets {
		drawn[match[1]] = true
	}
	if len(secrets) != 5 || len(drawn) != 5 {
		t.Errorf("%d secrets, %d of them different: %s", len(secrets), len(drawn), first)
	}
	if second := run(); second != first {
		t.Errorf("the second run changes what the databases know:\n%s\n%s", first, second)
	}
	if strings.Count(first, "\n") != strings.Count(read(t, ".env.docker.example"), "\n") {
		t.Errorf("lines are missing: %s", first)
	}
}

// nginx closes an idle connection to a server before the server does.
func TestNginxClosesIdleConnectionsFirst(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile(`(?m)^\tkeepalive_timeout (\w+);$`).FindStringSubmatch(read(t, "deploy/nginx/upstreams.conf"))
	if found == nil {
		t.Fatal("deploy/nginx/upstreams.conf has no keepalive_timeout")
	}
	keeps, err := time.ParseDuration(found[1])
	if err != nil {
		t.Fatal(err)
	}
	if idle := config.Defaults().IdleTimeout; keeps >= idle {
		t.Errorf("nginx keeps idle connections for %s, the server for %s", keeps, idle)
	}
}
