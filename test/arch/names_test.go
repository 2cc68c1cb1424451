package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Names that the product had before it used the terms of its field, as far as they cannot mean anything else. The glossary of
// docs/architecture.md has the terms.
const (
	formerIdentifiers = `
		Receipt Debts Debt owed MarkPaid payOff Desk Inside FromHere FromThisMachine MayTake Asked Door seldom execAll moody moodyHouse
		bank house shopper courier entrance readOld stirred deaf untold shelves DeadLetter DeadLetters letters room rooms judgement`
	formerFiles = `
		bus_tail carry catalogue courier deadletters desk doors holders house lasts last_keep lastbytes law letters lot seldom shelves shop
		visit`
	// Tables, columns, log events, topics and paths, in Go, templates and scripts of Redis.
	formerTexts = `
		dead_letters tries_left bus.set_aside known.failed lasts.alone payment.panic realtime.deaf realtime.garbage streams.deaf
		worker.message_poisoned /letters /dead-letters owed`
)

// aliases keep a former name for callers: "file name".
func aliases() []string {
	return []string{
		"internal/api/stats.go owed",
		"internal/api/admin_scenario_test.go owed",
	}
}

// TestFormerNames: no former name comes back. Migrations keep the names that they replace.
func TestFormerNames(t *testing.T) {
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() {
			if relative == "bin" || entry.Name() == "migrations" || relative != "." && strings.HasPrefix(entry.Name(), ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if relative == "test/arch/names_test.go" || relative == "internal/cli/pages_test.go" { // they list the names
			return nil
		}
		source, err := os.ReadFile(file)
		for _, name := range formerNames(relative, string(source)) {
			if alias := relative + " " + name; slices.Contains(aliases(), alias) {
				used[alias] = true
				continue
			}
			t.Errorf("%s: the former name %s; use the term of the glossary", relative, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, alias := range aliases() {
		if !used[alias] {
			t.Errorf("the alias %q is not used any more: remove it", alias)
		}
	}
}

// formerNames returns the former names in the name and the source of a file.
func formerNames(file, source string) (found []string) {
	base, _, _ := strings.Cut(path.Base(file), ".")
	if base = strings.TrimSuffix(base, "_test"); strings.HasPrefix(base, "badday_") || slices.Contains(strings.Fields(formerFiles), base) {
		found = append(found, base)
	}
	switch path.Ext(file) {
	case ".go":
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, 0)
		if err != nil {
			return append(found, err.Error())
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.Ident:
				if slices.Contains(strings.Fields(formerIdentifiers), node.Name) {
					found = append(found, node.Name)
				}
			case *ast.BasicLit:
				found = append(found, formerText.FindAllString(node.Value, -1)...)
			}
			return true
		})
	case ".lua", ".html", ".yaml", ".js", ".txtar":
		found = append(found, formerText.FindAllString(source, -1)...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

var formerText = func() *regexp.Regexp {
	var names []string
	for name := range strings.FieldsSeq(formerTexts) {
		pattern := regexp.QuoteMeta(name)
		if !strings.HasPrefix(name, "/") {
			pattern = `\b` + pattern
		}
		names = append(names, pattern+`\b`)
	}
	return regexp.MustCompile(strings.Join(names, "|"))
}()

// TestFormerNamesAreFound: a former name that comes back is found.
func TestFormerNamesAreFound(t *testing.T) {
	for name, c := range map[string]struct{ file, source, want string }{
		"type":   {"x.go", "package x; type Receipt struct{}", "Receipt"},
		"method": {"x.go", "package x; func (s S) MarkPaid() {}", "MarkPaid"},
		"table":  {"x.go", "package x; const q = \"SELECT id FROM dead_letters\"", "dead_letters"},
		"event":  {"x.go", "package x; const e = \"realtime.deaf\"", "realtime.deaf"},
		"path":   {"x.html", "<a href=\"/console/letters\">", "/letters"},
		"file":   {"internal/console/desk.go", "package console", "desk"},
		"test":   {"test/chaos/badday_disk_test.go", "package chaos", "badday_disk"},
		"none":   {"x.go", "package x; type receipt struct{ letter int }", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(formerNames(c.file, c.source), " "); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
