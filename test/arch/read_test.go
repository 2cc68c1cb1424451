package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder, seen from here.
const root = "../.."

// importsOf are the imports of a package.
type importsOf struct {
	own   []string // by its own files
	tests []string // by its test files, those of its external test package included
}

// readModule returns the name of the module and what its packages import, by their path below the module. It parses
// every Go file's imports, whatever system or tag the file is for: the rules hold for all.
func readModule(t *testing.T) (module string, packages map[string]importsOf) {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(mod), "\n")
	module = strings.TrimPrefix(first, "module ")
	packages = map[string]importsOf{}
	for _, path := range goFiles(t) {
		imports, err := readImports(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.ToSlash(filepath.Dir(path))
		p := packages[name]
		if strings.HasSuffix(path, "_test.go") {
			p.tests = append(p.tests, imports...)
		} else {
			p.own = append(p.own, imports...)
		}
		packages[name] = p
	}
	for name, p := range packages {
		packages[name] = importsOf{distinct(p.own), distinct(p.tests)}
	}
	return module, packages
}

// goFiles returns the path of every Go file of the module, from its root.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && foreign(path, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		relative, err := filepath.Rel(root, path)
		files = append(files, relative)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// foreign reports whether a folder is one that the Go command leaves out: hidden, test data, or a module of its own.
func foreign(path, name string) bool {
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor" || err == nil
}

func readImports(path string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	imports := make([]string, len(file.Imports))
	for i, spec := range file.Imports {
		if imports[i], err = strconv.Unquote(spec.Path.Value); err != nil {
			return nil, err
		}
	}
	return imports, nil
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
