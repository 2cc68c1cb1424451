package cli

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// Every command that help lists has an example, and every example is a valid command line of its command.
func TestExamples(t *testing.T) {
	parser, err := newParser(Streams{Out: io.Discard, Err: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	all, err := details()
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Leaves(true) {
		path := command.Path()
		examples := regexp.MustCompile(`(?m)^  orderflow (.*)$`).FindAllStringSubmatch(all[path], -1)
		if len(examples) == 0 {
			t.Errorf("orderflow %s has no example", path)
		}
		for _, example := range examples {
			line, _, _ := strings.Cut(example[1], " >> ")
			if !strings.HasPrefix(line, path) {
				t.Errorf("orderflow %s has an example of another command: %s", path, line)
			}
			if _, err := parser.Parse(strings.Fields(line)); err != nil {
				t.Errorf("orderflow %s: %v", line, err)
			}
		}
		delete(all, path)
	}
	for path := range all {
		if !isGroup(parser, path) {
			t.Errorf("orderflow %s has details, but is not a command", path)
		}
	}
}

// isGroup reports whether a command has commands below it.
func isGroup(parser *kong.Kong, path string) bool {
	for _, node := range parser.Model.Children {
		if node.Name == path {
			return len(node.Children) > 0
		}
	}
	return false
}

// The former name jobs has the same help as failed-jobs.
func TestFormerNameHasHelp(t *testing.T) {
	parser, err := newParser(Streams{Out: io.Discard, Err: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	details := map[string]string{}
	for _, node := range parser.Model.Children {
		details[node.Name] = node.Detail
	}
	if details["jobs"] == "" || details["jobs"] != details["failed-jobs"] {
		t.Errorf("jobs has the details %q", details["jobs"])
	}
}
