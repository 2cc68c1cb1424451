package arch

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestImportsInDocument: the table of packages in docs/architecture.md has the rows of the import rules, in their order and with
// their imports. The row of internal/app describes its imports in words.
func TestImportsInDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `internal/(\\w+)` \\| .* \\|(.*)\\|$").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, row[1]+": "+strings.TrimSpace(row[2]))
	}
	var rules []string
	for _, level := range packageRules() {
		for _, rule := range level {
			name, isProduct := strings.CutPrefix(rule.path, "internal/")
			if !isProduct || rule.suite {
				continue
			}
			imports := make([]string, len(rule.imports))
			for i, imported := range rule.imports {
				imports[i] = path.Base(imported)
			}
			if name == "app" {
				imports = []string{"all packages above except batch and sqldb"}
			}
			rules = append(rules, name+": "+strings.Join(imports, ", "))
		}
	}
	if diff := cmp.Diff(rules, documented); diff != "" {
		t.Errorf("docs/architecture.md differs from the import rules (-rules +page):\n%s", diff)
	}
}
