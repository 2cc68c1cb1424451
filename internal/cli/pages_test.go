package cli

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every command and program in a document is run by a test. (Pages below internal have none.)
func TestEveryPageIsRun(t *testing.T) {
	fence := regexp.MustCompile("(?m)^ *```(sh|bash|shell|console|js|go|nginx|yaml|sql)$")
	for name, page := range pages(t) {
		if blocks := fence.FindAllString(page, -1); len(blocks) > 0 && !slices.Contains(run, name) && runElsewhere[name] == "" {
			t.Errorf("%s has %d blocks of commands that no test runs", name, len(blocks))
		}
	}
	for name := range runElsewhere {
		if pages(t)[name] == "" {
			t.Errorf("%s does not exist: remove it from runElsewhere", name)
		}
	}
}

// The index has one row for each document outside internal.
func TestIndex(t *testing.T) {
	all := pages(t)
	index := all["docs/README.md"]
	for name := range all {
		if strings.HasPrefix(name, "internal/") || name == "docs/README.md" {
			continue
		}
		relative, err := filepath.Rel("docs", name)
		if err != nil {
			t.Fatal(err)
		}
		if rows := regexp.MustCompile(`(?m)^\| \[[^]]+\]\(`+regexp.QuoteMeta(filepath.ToSlash(relative))+`\) \|.*\|$`).FindAllString(index, -1); len(rows) != 1 {
			t.Errorf("docs/README.md has %d rows for %s", len(rows), name)
		}
	}
}

// section returns the text below a heading of a page.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(pages(t)[page], "\n## "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if !found {
		t.Fatalf("%s has no section %q", page, heading)
	}
	return text
}

// The ten requests of the quick start are ten. Every request on a page that TestDocuments runs shows its answer, so that it
// is compared.
func TestTenRequests(t *testing.T) {
	text := section(t, "docs/quickstart.md", "The API in ten requests")
	requests := regexp.MustCompile(`(?m)^\$ curl `).FindAllString(text, -1)
	titles := regexp.MustCompile(`(?m)^\*\*(\d+)\. `).FindAllStringSubmatch(text, -1)
	if len(requests) != 10 || len(titles) != 10 || titles[9][1] != "10" {
		t.Errorf("there are %d requests and the titles %v", len(requests), titles)
	}
	for _, name := range run {
		for _, c := range fenced(t, name) {
			if strings.HasPrefix(c.text, "curl ") && c.answers == nil && !isNotRun(c.text) {
				t.Errorf("%s:%d: %s has no answer on the page", name, c.line, c.text)
			}
		}
	}
}

// The tour prints what the quick start shows of it.
func TestTourInDocuments(t *testing.T) {
	tour := output(t, []string{"TMPDIR=" + t.TempDir()}, "demo")
	spaces := regexp.MustCompile(`  +`)
	said := spaces.ReplaceAllString(tour, "  ")
	_, shown, _ := strings.Cut(section(t, "docs/quickstart.md", "The tour"), "```text\n")
	shown, _, _ = strings.Cut(shown, "```")
	lines := 0
	for line := range strings.Lines(shown) {
		for _, cell := range regexp.MustCompile(` {4,}`).Split(strings.TrimSpace(line), -1) {
			if cell = spaces.ReplaceAllString(cell, "  "); !strings.ContainsAny(cell, "·●") && cell != "" {
				lines++
				if !strings.Contains(said, cell) {
					t.Errorf("the tour does not print %q:\n%s", cell, tour)
				}
			}
		}
	}
	if lines < 10 {
		t.Errorf("docs/quickstart.md shows %d lines of the tour: the test cannot parse it", lines)
	}
}

// Each figure of the README stands in one row of docs/performance.md, and its make target exists.
func TestFiguresInREADME(t *testing.T) {
	performance := pages(t)["docs/performance.md"]
	makefile, err := os.ReadFile(filepath.Join(repository, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (.*?) \\| ([\\d.,]+)(?: µs)? \\| ([\\d.,]+)(?: µs)? \\| ([\\d.]+ ×) \\| `make ([a-z-]+)` \\|$").
		FindAllStringSubmatch(section(t, "README.md", "Why it is fast"), -1)
	if len(rows) != strings.Count(section(t, "README.md", "Why it is fast"), "\n| ")-1 {
		t.Errorf("the test can parse %d rows of figures in README.md", len(rows))
	}
	for _, row := range rows {
		source := regexp.MustCompile("(?m)^\\|.*"+regexp.QuoteMeta(row[4])+".*$").FindAllString(performance, -1)
		if !slices.ContainsFunc(source, func(line string) bool { return strings.Contains(line, row[2]) && strings.Contains(line, row[3]) }) {
			t.Errorf("no row of docs/performance.md has %s: %s against %s, %s", row[1], row[2], row[3], row[4])
		}
		if !strings.Contains(string(makefile), "\n"+row[5]+":") {
			t.Errorf("README.md measures %s with make %s, which is not a target", row[1], row[5])
		}
	}
}

// Programs on the pages that TestDocuments runs are those of docs/realtime.md, where they are run.
func TestProgramsInDocuments(t *testing.T) {
	for _, name := range run {
		for _, program := range regexp.MustCompile("(?ms)^```js\n.*?^```$").FindAllString(pages(t)[name], -1) {
			if !strings.Contains(pages(t)["docs/realtime.md"], program) {
				t.Errorf("docs/realtime.md has no such program as %s, so nothing runs it:\n%s", name, program)
			}
		}
	}
}

// formerWords are words and phrases that the documents used for terms of the glossary in docs/architecture.md.
var formerWords = regexp.MustCompile(`(?i)\b(the books|whoever|lest|goes without saying|law of imports|the desk|dead letters?|set aside|take[ns]? back|` +
	`debts?|owe[ds]?|shel(?:f|ves)|untold|pieces|no room for|told of)\b`)

// Documents use the terms of the glossary. Blocks of code and output are not read.
func TestVocabulary(t *testing.T) {
	for name, page := range pages(t) {
		for _, found := range formerWords.FindAllString(block.ReplaceAllString(page, ""), -1) {
			t.Errorf("%s says %q: use the term of the glossary", name, found)
		}
	}
}

// Pictures are small, suit light and dark pages, and load nothing.
func TestPictures(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "docs", "images", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no pictures: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(file) == ".png" && len(data) < 256<<10 {
			continue // TestScreenshots creates them
		}
		if filepath.Ext(file) != ".svg" || len(data) > 16<<10 {
			t.Errorf("%s is neither an SVG of at most 16 KB nor a PNG of at most 256 KB", file)
		}
		for decoder := xml.NewDecoder(strings.NewReader(string(data))); ; {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		text := strings.ReplaceAll(string(data), "http://www.w3.org/2000/svg", "")
		if found := regexp.MustCompile(`<script|href|://|@import`).FindString(text); found != "" {
			t.Errorf("%s has %s: a picture must not load or run anything", file, found)
		}
		for _, wanted := range []string{"<title", "<desc", "@media (prefers-"} {
			if !strings.Contains(text, wanted) {
				t.Errorf("%s has no %s", file, wanted)
			}
		}
	}
}
