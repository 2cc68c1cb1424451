package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A test that waits by sleeping is slow when it passes and fails when the machine is busy. Inside testing/synctest
// sleeping costs nothing and is exact, so that a test file may sleep when it uses that. (The linter keeps sleeps out of
// all other files.)
func TestTestsSleepInSynctestOnly(t *testing.T) {
	for _, path := range goFiles(t) {
		if !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(filepath.Dir(path), "test") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if sleeps(file) && !imports(file, "testing/synctest") {
			t.Errorf("%s calls time.Sleep: wait for the condition, or use testing/synctest", path)
		}
	}
}

// sleeps reports whether a file mentions time.Sleep.
func sleeps(file *ast.File) bool {
	found := false
	ast.Inspect(file, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok && selector.Sel.Name == "Sleep" {
			if name, ok := selector.X.(*ast.Ident); ok && name.Name == "time" {
				found = true
			}
		}
		return !found
	})
	return found
}

func imports(file *ast.File, path string) bool {
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool { return spec.Path.Value == `"`+path+`"` })
}

func TestSleeps(t *testing.T) {
	for source, want := range map[string]bool{
		"package p; import \"time\"; func f() { time.Sleep(1) }":                    true,
		"package p; import \"time\"; var f = time.Sleep":                            true,
		"package p; import \"time\"; func f() { <-time.NewTimer(1).C }":             false,
		"package p; type d struct{ Sleep int }; func f(x d) int { return x.Sleep }": false,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if sleeps(file) != want {
			t.Errorf("%s: sleeps %v", source, !want)
		}
	}
}
