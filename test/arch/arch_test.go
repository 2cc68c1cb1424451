package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestImportLaw(t *testing.T) {
	module, packages := readModule(t)
	for _, fault := range judge(module, packages, rooms(), libraries(), guarded(), testLibraries()) {
		t.Error(fault)
	}
}

// judge returns what breaks the law, sorted.
func judge(module string, packages map[string]found, levels [][]room, libs, guards []library, testLibs []string) []string {
	j := &judgement{module: module, packages: packages, law: map[string]room{}, level: map[string]int{}}
	for level, rows := range levels {
		for _, row := range rows {
			j.table(level, row, level == len(levels)-1)
		}
	}
	for name, p := range packages {
		row, listed := j.law[name]
		if !listed {
			j.fault("%s is not in the table of packages", name)
			continue
		}
		j.own(row, p)
		j.tests(row, p)
		j.outside(row, p, libs, guards, testLibs)
	}
	for _, lib := range slices.Concat(libs, guards) {
		for _, user := range lib.users {
			if !slices.ContainsFunc(packages[user].own, func(path string) bool { return below(path, lib.path) }) {
				j.fault("%s does not import %s any more: strike it from the table of libraries", user, lib.path)
			}
		}
	}
	slices.Sort(j.faults)
	return j.faults
}

type judgement struct {
	module   string
	packages map[string]found
	law      map[string]room
	level    map[string]int
	faults   []string
}

func (j *judgement) fault(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

// table takes a row in; it may only point to rows above it, and not sideways.
func (j *judgement) table(level int, row room, assembly bool) {
	if _, twice := j.law[row.path]; twice {
		j.fault("%s is twice in the table", row.path)
	}
	for _, path := range row.imports {
		above, listed := j.level[path]
		sideways := above == level && !assembly && !below(row.path, path)
		if !listed || sideways {
			j.fault("the table lets %s import %s, which does not stand above it", row.path, path)
		}
	}
	j.law[row.path], j.level[row.path] = row, level
	if _, exists := j.packages[row.path]; !exists {
		j.fault("%s is in the table, but there is no such package", row.path)
	}
}

// own judges what a package's own files import of the module.
func (j *judgement) own(row room, p found) {
	used := map[string]bool{}
	for _, path := range p.own {
		name, ours := j.ours(path)
		if !ours {
			continue
		}
		used[name] = true
		if !slices.Contains(row.imports, name) {
			j.fault("%s may not import %s", row.path, name)
		}
		if j.law[name].suite {
			j.fault("%s imports the suite %s, which is for tests", row.path, name)
		}
	}
	for _, path := range row.imports {
		if !used[path] && len(p.own) > 0 {
			j.fault("%s does not import %s any more: strike it from the table of packages", row.path, path)
		}
	}
}

// tests judges what a package's test files import of the module.
func (j *judgement) tests(row room, p found) {
	for _, path := range p.tests {
		name, ours := j.ours(path)
		if ours && j.level[name] > j.level[row.path] {
			j.fault("the tests of %s may not import %s, which stands above it", row.path, name)
		}
	}
}

// outside judges what a package imports that is not of the module.
func (j *judgement) outside(row room, p found, libs, guards []library, testLibs []string) {
	forTests := func(path string) bool {
		return slices.ContainsFunc(testLibs, func(lib string) bool { return below(path, lib) })
	}
	for _, path := range p.own {
		if _, ours := j.ours(path); ours || (row.suite && (forTests(path) || path == "testing")) {
			continue
		}
		if !standard(path) && !allowed(libs, path, row.path) {
			j.fault("%s may not import %s", row.path, path)
		}
		if guard := find(guards, path); guard != nil && path == guard.path && !slices.Contains(guard.users, row.path) {
			j.fault("%s may not import %s", row.path, path)
		}
	}
	for _, path := range p.tests {
		if _, ours := j.ours(path); !ours && !standard(path) && !forTests(path) && !allowed(libs, path, row.path) {
			j.fault("the tests of %s may not import %s", row.path, path)
		}
	}
}

// ours is an import's path below the module, if it is of the module.
func (j *judgement) ours(path string) (string, bool) {
	return strings.CutPrefix(path, j.module+"/")
}

// standard reports whether an import is of the standard library: its first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func below(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func find(libs []library, path string) *library {
	for _, lib := range libs {
		if below(path, lib.path) {
			return &lib
		}
	}
	return nil
}

func allowed(libs []library, path, user string) bool {
	lib := find(libs, path)
	return lib != nil && slices.Contains(lib.users, user)
}

// The judge finds what there is to find.
func TestJudge(t *testing.T) {
	levels := [][]room{
		{{path: "order"}},
		{{path: "lock", imports: []string{"order"}}, {path: "lock/locktest", imports: []string{"lock"}, suite: true}, {path: "store"}},
		{{path: "intake", imports: []string{"lock"}}},
		{{path: "app", imports: []string{"intake"}}, {path: "cli", imports: []string{"app"}}},
	}
	libs := []library{{"lib.org/sql", []string{"store"}}}
	guards := []library{{"log", nil}}
	lawful := func() map[string]found {
		return map[string]found{
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
		change func(map[string]found)
		want   string // "" for no fault
	}{
		"lawful":             {func(map[string]found) {}, ""},
		"unlisted":           {func(p map[string]found) { p["util"] = found{} }, "util is not in the table"},
		"gone":               {func(p map[string]found) { delete(p, "cli") }, "cli is in the table, but there is no such package"},
		"import not used":    {func(p map[string]found) { p["app"] = found{own: []string{"fmt"}} }, "app does not import intake any more"},
		"forbidden":          {func(p map[string]found) { p["order"] = found{own: []string{"m/lock"}} }, "order may not import lock"},
		"forbidden in tests": {func(p map[string]found) { p["order"] = found{tests: []string{"m/lock"}} }, "the tests of order may not import lock"},
		"a suite":            {func(p map[string]found) { p["app"] = found{own: []string{"m/intake", "m/lock/locktest"}} }, "is for tests"},
		"a library":          {func(p map[string]found) { p["cli"] = found{own: []string{"m/app", "lib.org/sql"}} }, "cli may not import lib.org/sql"},
		"an unknown library": {func(p map[string]found) { p["order"] = found{own: []string{"new.org/x"}} }, "order may not import new.org/x"},
		"a name that begins": {func(p map[string]found) { p["store"] = found{own: []string{"lib.org/sql", "lib.org/sqlx"}} }, "may not import lib.org/sqlx"},
		"library not used":   {func(p map[string]found) { p["store"] = found{own: []string{"fmt"}} }, "store does not import lib.org/sql any more"},
		"a library in tests": {func(p map[string]found) { p["order"] = found{tests: []string{"lib.org/sql"}} }, "the tests of order may not import lib.org/sql"},
		"a library of tests": {func(p map[string]found) { p["order"] = found{own: []string{"test.org/x"}} }, "order may not import test.org/x"},
		"guarded":            {func(p map[string]found) { p["order"] = found{own: []string{"log"}} }, "order may not import log"},
	} {
		t.Run(name, func(t *testing.T) {
			packages := lawful()
			c.change(packages)
			faults := judge("m", packages, levels, libs, guards, []string{"test.org/x"})
			if c.want == "" && len(faults) > 0 || c.want != "" && !strings.Contains(strings.Join(faults, "\n"), c.want) {
				t.Errorf("got %q, want %q", faults, c.want)
			}
		})
	}
	sideways := slices.Clone(levels)
	sideways[1] = append(slices.Clone(levels[1]), room{path: "bus", imports: []string{"store"}})
	packages := lawful()
	packages["bus"] = found{own: []string{"m/store"}}
	if faults := judge("m", packages, sideways, libs, guards, []string{"test.org/x"}); len(faults) != 1 {
		t.Errorf("a table that points sideways: %q of %v", faults, slices.Sorted(maps.Keys(packages)))
	}
}
