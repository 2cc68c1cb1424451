package cli

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages returns the documents of the repository, by their paths below its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(repository, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != repository && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "bin" || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(file) != ".md":
			return nil
		}
		name, err := filepath.Rel(repository, file)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		found[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/operations/run.md"} {
		if found[name] == "" {
			t.Fatalf("there is no %s", name)
		}
	}
	return found
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	block   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors returns the link targets of a page's headings.
func anchors(page string) (names []string) {
	for _, match := range heading.FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

// Links between the documents have existing targets.
func TestLinks(t *testing.T) {
	all := pages(t)
	for name, page := range all {
		for _, match := range link.FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(match[1], "://") {
				continue
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(repository, file)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, match[1])
			} else if anchor != "" && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s links to %s, which is not a heading", name, match[1])
			}
		}
	}
}

// output returns what a command of the product prints. env is the only source of its settings.
func output(t *testing.T, env []string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary(), args...)
	command.Env = append(withoutSettings(os.Environ()), env...)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("orderflow %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// verbsBelow returns the verbs that a page of help lists.
func verbsBelow(t *testing.T, args ...string) (verbs []string) {
	t.Helper()
	_, list, _ := strings.Cut(output(t, nil, append(args, "--help")...), "\nCommands:\n")
	listed := regexp.MustCompile(`(?m)^  ([a-z].*?)   *\S`)
	for _, match := range listed.FindAllStringSubmatch(list, -1) {
		words := strings.Fields(match[1])
		verbs = append(verbs, words[len(args)])
	}
	return verbs
}

// The table of docs/commands.md has every verb and no other, and README.md names no other.
func TestEveryVerbIsDocumented(t *testing.T) {
	page := pages(t)["docs/commands.md"]
	verbs := verbsBelow(t)
	if len(verbs) < 10 {
		t.Fatalf("help lists the verbs %v: the test cannot parse it", verbs)
	}
	for _, verb := range verbs {
		row := regexp.MustCompile("(?m)^\\|[^|]*`orderflow " + verb + "\\b.*$").FindString(page)
		if row == "" {
			t.Errorf("docs/commands.md has no row for orderflow %s", verb)
		}
		for _, below := range verbsBelow(t, verb) {
			if !regexp.MustCompile("[` ]" + below + "[` ]").MatchString(row) {
				t.Errorf("docs/commands.md does not name orderflow %s %s", verb, below)
			}
		}
	}
	for name, text := range pages(t) {
		if strings.HasPrefix(name, "internal/") {
			continue
		}
		for _, match := range regexp.MustCompile("`(?:bin/)?orderflow ([a-z][a-z-]*)").FindAllStringSubmatch(text, -1) {
			if !slices.Contains(verbs, match[1]) {
				t.Errorf("%s names orderflow %s, which does not exist", name, match[1])
			}
		}
	}
}

// Every flag that a document names exists.
func TestFlagsInDocumentsExist(t *testing.T) {
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	others := regexp.MustCompile("(?m)\\b(?:mysqldump|mariadb-dump|mysql|mariadb|docker compose|go run \\./cmd/bench-watched) [^|<>`\\n]*") // other programs' commands
	known := map[string]bool{}
	for _, verb := range verbsBelow(t) {
		commands := [][]string{{verb}}
		for _, below := range verbsBelow(t, verb) {
			commands = append(commands, []string{verb, below})
		}
		for _, command := range commands {
			for _, name := range flag.FindAllString(output(t, nil, append(command, "--help")...), -1) {
				known[name] = true
			}
		}
	}
	for name, page := range pages(t) {
		for _, used := range flag.FindAllString(others.ReplaceAllString(page, ""), -1) {
			if !known[used] && (name == "README.md" || strings.HasPrefix(name, "docs/")) {
				t.Errorf("%s names %s, which is not a flag", name, used)
			}
		}
	}
}

// docs/architecture.md lists the invariants with the numbers and words of the audit.
func TestInvariantsInDocuments(t *testing.T) {
	page := pages(t)["docs/architecture.md"]
	env := []string{"DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "shop.db")}
	output(t, env, "migrate", "up")
	lines := regexp.MustCompile(`(?m)^holds +(\d+)  (.*)$`).FindAllStringSubmatch(output(t, env, "audit"), -1)
	for _, line := range lines {
		if row := "| " + line[1] + " | " + line[2] + " |"; !strings.Contains(page, row) {
			t.Errorf("docs/architecture.md has no row %q", row)
		}
	}
	if rows := regexp.MustCompile(`(?m)^\| \d+ \|`).FindAllString(page, -1); len(lines) == 0 || len(rows) != len(lines) {
		t.Errorf("docs/architecture.md has %d invariants, the audit %d", len(rows), len(lines))
	}
}

// The table of docs/architecture.md has every package, and no document names a package that does not exist.
func TestPackagesInDocuments(t *testing.T) {
	all := pages(t)
	entries, err := os.ReadDir(filepath.Join(repository, "internal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !regexp.MustCompile("(?m)^\\|.*`internal/" + entry.Name() + "`").MatchString(all["docs/architecture.md"]) {
			t.Errorf("docs/architecture.md has no row for internal/%s", entry.Name())
		}
	}
	for name, page := range all {
		for _, named := range regexp.MustCompile(`\binternal/[a-z/_]+(\.(go|md|json))?`).FindAllString(page, -1) {
			if _, err := os.Stat(filepath.Join(repository, named)); err != nil {
				t.Errorf("%s names %s, which does not exist", name, named)
			}
		}
	}
}

// declaredTests returns the names of all tests below internal and test.
func declaredTests(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, root := range []string{"internal", "test"} {
		err := filepath.WalkDir(filepath.Join(repository, root), func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, "_test.go") {
				return err
			}
			data, err := os.ReadFile(file)
			for _, match := range declared.FindAllStringSubmatch(string(data), -1) {
				there[match[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return there
}

// Every test that a document names exists. Each row of the threats and each chapter of docs/operations that has commands
// names a test.
func TestTestsInDocuments(t *testing.T) {
	there := declaredTests(t)
	named := regexp.MustCompile(`\bTest[A-Z]\w+`)
	for name, page := range pages(t) {
		for _, test := range named.FindAllString(page, -1) {
			if !there[test] {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
	}
	_, threats, found := strings.Cut(pages(t)["docs/security.md"], "\n## Threats\n")
	threats, _, ended := strings.Cut(threats, "\n## ")
	rows := regexp.MustCompile(`(?m)^\|.*\|$`).FindAllString(threats, -1)
	if !found || !ended || len(rows) < 20 {
		t.Fatalf("docs/security.md has %d rows: the test cannot parse it", len(rows))
	}
	for _, row := range rows[2:] {
		if !named.MatchString(row) {
			t.Errorf("this row names no test: %s", row)
		}
	}
	commands := 0
	for name, page := range pages(t) {
		if !strings.HasPrefix(name, "docs/operations/") {
			continue
		}
		for _, chapter := range regexp.MustCompile(`(?m)^##+ `).Split(page, -1) {
			title, text, _ := strings.Cut(chapter, "\n")
			if !strings.Contains(text, "\n```sh\n") {
				continue
			}
			if commands++; !named.MatchString(text) {
				t.Errorf("%s: the chapter %q has commands and names no test that runs them", name, title)
			}
		}
	}
	if commands != 3 {
		t.Errorf("docs/operations has %d chapters with commands, want 3", commands)
	}
}

// Pages for operators and the README stay short.
func TestLengthOfPages(t *testing.T) {
	for name, page := range pages(t) {
		limit := 0
		switch {
		case name == "README.md":
			limit = 120
		case strings.HasPrefix(name, "docs/operations/"):
			limit = 200
		}
		if lines := strings.Count(page, "\n"); limit > 0 && lines > limit {
			t.Errorf("%s has %d lines, want at most %d", name, lines, limit)
		}
	}
}
