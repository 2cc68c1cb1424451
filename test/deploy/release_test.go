package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A release that lacks something says what, before anything is compiled.
func TestReleaseCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"scripts", "cmd/orderflow"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "scripts/release.sh", read(t, "scripts/release.sh"))
	write(t, dir, "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n\n- More.\n\n## [1.2.3] - 2026-01-02\n\n- A thing.\n\n## [1.2.2]\n\n[1.2.2]: x\n")
	write(t, dir, "go.mod", "module orderflow\n\ngo 1.26\n")
	write(t, dir, "cmd/orderflow/main.go", "package main\n\nvar version string\n\nfunc main() { println(version) }\n")
	run := func(version, name string, args ...string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), name, args...)
		c.Dir = dir
		// No settings of who runs this, such as a signature for each tag.
		c.Env = append(os.Environ(), "VERSION="+version, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
		said, err := c.CombinedOutput()
		if name == "git" && err != nil {
			t.Fatalf("%v: %v: %s", args, err, said)
		}
		if ok := strings.Contains(string(said), "can be released"); name == "bash" && args[1] == "check" && ok != (err == nil) {
			t.Errorf("it says %q and ends with %v", said, err)
		}
		return strings.TrimSpace(string(said))
	}
	check := func(version, want string) {
		t.Helper()
		if said := run(version, "bash", "scripts/release.sh", "check"); said != want {
			t.Errorf("VERSION=%q: %q, want %q", version, said, want)
		}
	}
	run("", "git", "init", "-q")
	run("", "git", "add", "-A")
	run("", "git", "commit", "-q", "-m", "First")
	check("", "release: this commit has no tag such as v1.2.3; say VERSION=v1.2.3 to check before there is one")
	check("1.2.3", "release: 1.2.3 is no version such as v1.2.3 or v1.2.3-rc.1")
	check("v1.2", "release: v1.2 is no version such as v1.2.3 or v1.2.3-rc.1")
	check("v1.2.4", "release: CHANGELOG.md has no part that begins with ## [1.2.4]")
	check("v1.2.2", "release: CHANGELOG.md has no part that begins with ## [1.2.2]")
	check("v1.2.3", "v1.2.3 can be released")
	if notes := run("v1.2.3", "bash", "scripts/release.sh", "notes"); notes != "- A thing." {
		t.Errorf("the notes are %q", notes)
	}
	run("", "git", "tag", "v1.2.3")
	check("", "v1.2.3 can be released")
	write(t, dir, "more.txt", "x")
	check("", "release: the tree has changes that are not committed")
}
