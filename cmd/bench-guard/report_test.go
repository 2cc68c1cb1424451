package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// measured is a load of which each of the pairs has one order of 100 µs of the base, and so much more of the other's.
func measured(name string, shared bool, more time.Duration, pairs int) outcome {
	base := cost{orders: 1, server: 70 * time.Microsecond, database: 25 * time.Microsecond, redis: 5 * time.Microsecond}
	work := base
	work.server += more
	return outcome{load{name: name, shared: shared}, slices.Repeat([]pair{{base, work}}, pairs)}
}

func TestReport(t *testing.T) {
	var out strings.Builder
	err := report(&out, []outcome{
		measured("sqlite/create-one", false, 0, 12), measured("mariadb/create-one", true, 7*time.Microsecond, 24),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
                load  processor time of  base, µs per order  this build     loss       90 % interval  pairs  verdict
   sqlite/create-one                all               100.0       100.0   +0.0 %    +0.0 % to +0.0 %     12   passes
  mariadb/create-one                all               100.0       107.0   +7.0 %    +7.0 % to +7.0 %     24    fails
                                 server                70.0        77.0  +10.0 %  +10.0 % to +10.0 %
                               database                25.0        25.0   +0.0 %    +0.0 % to +0.0 %
                                  Redis                 5.0         5.0   +0.0 %    +0.0 % to +0.0 %

fails: the interval of at least one load is at a loss of 3 % or above.
`
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), trimLines(out.String())); diff != "" {
		t.Error(diff)
	}
}

// trimLines removes the spaces at the ends of lines.
func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func TestExitCode(t *testing.T) {
	pass, fail := measured("a", false, 0, 12), measured("b", false, 10*time.Microsecond, 12)
	wide := outcome{load{name: "c"}, slices.Concat(pass.pairs, fail.pairs)}
	for name, c := range map[string]struct {
		done []outcome
		want int
	}{
		"all pass":                          {[]outcome{pass, pass}, 0},
		"one fails":                         {[]outcome{pass, fail, pass}, exitFails},
		"one is not known":                  {[]outcome{pass, wide, pass}, exitNotKnown},
		"one is not known, and later fails": {[]outcome{wide, fail}, exitFails},
	} {
		t.Run(name, func(t *testing.T) {
			if got := exitCode(c.done); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

func TestChosen(t *testing.T) {
	for name, c := range map[string]struct {
		words []string
		want  string
	}{
		"all":           {nil, "sqlite/create-one, sqlite/create-100, sqlite/pipeline, mariadb/create-one, mariadb/create-100, mariadb/pipeline"},
		"of a database": {[]string{"sqlite"}, "sqlite/create-one, sqlite/create-100, sqlite/pipeline"},
		"two words":     {[]string{"create-100", "mariadb/pipeline"}, "sqlite/create-100, mariadb/create-100, mariadb/pipeline"},
		"unknown":       {[]string{"oracle"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(chosen(c.words)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
