package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestImportRules(t *testing.T) {
	module, packages := readModule(t)
	for _, violation := range violationsOf(module, packages, packageRules(), libraries(), guarded(), testLibraries()) {
		t.Error(violation)
	}
}

// violationsOf returns the violations of the import rules, sorted.
func violationsOf(module string, packages map[string]importsOf, levels [][]packageRule, libs, guards []library, testLibs []string) []string {
	j := &check{module: module, packages: packages, rules: map[string]packageRule{}, level: map[string]int{}}
	for level, rows := range levels {
		for _, row := range rows {
			j.addRule(level, row, level == len(levels)-1)
		}
	}
	for name, p := range packages {
		row, listed := j.rules[name]
		if !listed {
			j.add("%s is not in the table of packages", name)
			continue
		}
		j.checkOwn(row, p)
		j.checkTests(row, p)
		j.checkLibraries(row, p, libs, guards, testLibs)
	}
	for _, lib := range slices.Concat(libs, guards) {
		for _, user := range lib.users {
			if !slices.ContainsFunc(packages[user].own, func(path string) bool { return below(path, lib.path) }) {
				j.add("%s does not import %s any more: remove it from the table of libraries", user, lib.path)
			}
		}
	}
	slices.Sort(j.violations)
	return j.violations
}

type check struct {
	module     string
	packages   map[string]importsOf
	rules      map[string]packageRule
	level      map[string]int
	violations []string
}

func (j *check) add(format string, args ...any) {
	j.violations = append(j.violations, fmt.Sprintf(format, args...))
}

// addRule adds a row, which may only allow imports of rows above its level.
func (j *check) addRule(level int, row packageRule, assembly bool) {
	if _, twice := j.rules[row.path]; twice {
		j.add("%s is a duplicate in the table", row.path)
	}
	for _, path := range row.imports {
		above, listed := j.level[path]
		sideways := above == level && !assembly && !below(row.path, path)
		if !listed || sideways {
			j.add("the table lets %s import %s, which is not above it", row.path, path)
		}
	}
	j.rules[row.path], j.level[row.path] = row, level
	if _, exists := j.packages[row.path]; !exists {
		j.add("%s is in the table, but there is no such package", row.path)
	}
}

// checkOwn checks the imports of the module in a package's own files.
func (j *check) checkOwn(row packageRule, p importsOf) {
	used := map[string]bool{}
	for _, path := range p.own {
		name, ours := j.inModule(path)
		if !ours {
			continue
		}
		used[name] = true
		if !slices.Contains(row.imports, name) {
			j.add("%s may not import %s", row.path, name)
		}
		if j.rules[name].suite {
			j.add("%s imports the suite %s, which is for tests", row.path, name)
		}
	}
	for _, path := range row.imports {
		if !used[path] && len(p.own) > 0 {
			j.add("%s does not import %s any more: remove it from the table of packages", row.path, path)
		}
	}
}

// checkTests checks the imports of the module in a package's test files.
func (j *check) checkTests(row packageRule, p importsOf) {
	for _, path := range p.tests {
		name, ours := j.inModule(path)
		if ours && j.level[name] > j.level[row.path] {
			j.add("the tests of %s may not import %s, which is above it", row.path, name)
		}
	}
}

// checkLibraries checks the imports of other modules and of the standard library.
func (j *check) checkLibraries(row packageRule, p importsOf, libs, guards []library, testLibs []string) {
	forTests := func(path string) bool {
		return slices.ContainsFunc(testLibs, func(lib string) bool { return below(path, lib) })
	}
	for _, path := range p.own {
		if _, ours := j.inModule(path); ours || (row.suite && (forTests(path) || path == "testing")) {
			continue
		}
		if !standard(path) && !allowed(libs, path, row.path) {
			j.add("%s may not import %s", row.path, path)
		}
		if guard := libraryOf(guards, path); guard != nil && path == guard.path && !slices.Contains(guard.users, row.path) {
			j.add("%s may not import %s", row.path, path)
		}
	}
	for _, path := range p.tests {
		if _, ours := j.inModule(path); !ours && !standard(path) && !forTests(path) && !allowed(libs, path, row.path) {
			j.add("the tests of %s may not import %s", row.path, path)
		}
	}
}

// inModule returns the path of an import below the module.
func (j *check) inModule(path string) (string, bool) {
	return strings.CutPrefix(path, j.module+"/")
}

// standard reports whether an import is of the standard library: its first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func libraryOf(libs []library, path string) *library {
	for _, lib := range libs {
		if below(path, lib.path) {
			return &lib
		}
	}
	return nil
}

func allowed(libs []library, path, user string) bool {
	lib := libraryOf(libs, path)
	return lib != nil && slices.Contains(lib.users, user)
}

// TestViolations: each kind of violation is found.
func TestViolations(t *testing.T) {
	levels := [][]packageRule{
		{{path: "order"}},
		{{path: "lock", imports: []string{"order"}}, {path: "lock/locktest", imports: []string{"lock"}, suite: true}, {path: "store"}},
		{{path: "intake", imports: []string{"lock"}}},
		{{path: "app", imports: []string{"intake"}}, {path: "cli", imports: []string{"app"}}},
	}
	libs := []library{{"lib.org/sql", []string{"store"}}}
	guards := []library{{"log", nil}}
	valid := func() map[string]importsOf {
		return map[string]importsOf{
			"order":         {own: []string{"fmt"}},
			"lock":          {own: []string{"m/order", "log/slog"}, tests: []string{"m/lock/locktest", "m/store"}},
			"lock/locktest": {own: []string{"m/lock", "testing", "test.org/x/sub"}},
			"store":         {own: []string{"lib.org/sql/driver"}, tests: []string{"lib.org/sql"}},
			"intake":        {own: []string{"m/lock"}, tests: []string{"m/store", "m/intake", "test.org/x", "log"}},
			"app":           {own: []string{"m/intake"}},
			"cli":           {own: []string{"m/app"}},
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]importsOf)
		want   string // "" for no violation
	}{
		"valid":              {func(map[string]importsOf) {}, ""},
		"unlisted":           {func(p map[string]importsOf) { p["util"] = importsOf{} }, "util is not in the table"},
		"gone":               {func(p map[string]importsOf) { delete(p, "cli") }, "cli is in the table, but there is no such package"},
		"import not used":    {func(p map[string]importsOf) { p["app"] = importsOf{own: []string{"fmt"}} }, "app does not import intake any more"},
		"forbidden":          {func(p map[string]importsOf) { p["order"] = importsOf{own: []string{"m/lock"}} }, "order may not import lock"},
		"forbidden in tests": {func(p map[string]importsOf) { p["order"] = importsOf{tests: []string{"m/lock"}} }, "the tests of order may not import lock"},
		"a suite":            {func(p map[string]importsOf) { p["app"] = importsOf{own: []string{"m/intake", "m/lock/locktest"}} }, "is for tests"},
		"a library":          {func(p map[string]importsOf) { p["cli"] = importsOf{own: []string{"m/app", "lib.org/sql"}} }, "cli may not import lib.org/sql"},
		"an unknown library": {func(p map[string]importsOf) { p["order"] = importsOf{own: []string{"new.org/x"}} }, "order may not import new.org/x"},
		"a name that begins": {func(p map[string]importsOf) { p["store"] = importsOf{own: []string{"lib.org/sql", "lib.org/sqlx"}} }, "may not import lib.org/sqlx"},
		"library not used":   {func(p map[string]importsOf) { p["store"] = importsOf{own: []string{"fmt"}} }, "store does not import lib.org/sql any more"},
		"a library in tests": {func(p map[string]importsOf) { p["order"] = importsOf{tests: []string{"lib.org/sql"}} }, "the tests of order may not import lib.org/sql"},
		"a library of tests": {func(p map[string]importsOf) { p["order"] = importsOf{own: []string{"test.org/x"}} }, "order may not import test.org/x"},
		"guarded":            {func(p map[string]importsOf) { p["order"] = importsOf{own: []string{"log"}} }, "order may not import log"},
	} {
		t.Run(name, func(t *testing.T) {
			packages := valid()
			c.change(packages)
			violations := violationsOf("m", packages, levels, libs, guards, []string{"test.org/x"})
			if c.want == "" && len(violations) > 0 || c.want != "" && !strings.Contains(strings.Join(violations, "\n"), c.want) {
				t.Errorf("got %q, want %q", violations, c.want)
			}
		})
	}
	sideways := slices.Clone(levels)
	sideways[1] = append(slices.Clone(levels[1]), packageRule{path: "bus", imports: []string{"store"}})
	packages := valid()
	packages["bus"] = importsOf{own: []string{"m/store"}}
	if violations := violationsOf("m", packages, sideways, libs, guards, []string{"test.org/x"}); len(violations) != 1 {
		t.Errorf("a table that points sideways: %q of %v", violations, slices.Sorted(maps.Keys(packages)))
	}
}
