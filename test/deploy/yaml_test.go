package deploy

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// documents reads all documents of a YAML file; a key given twice is an error.
func documents(t *testing.T, name string) (all []node) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, name)))
	for {
		var document map[string]any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, node{t, name, document})
	}
}

// node is a value in a YAML file.
type node struct {
	t     *testing.T
	where string
	value any
}

// at goes down by keys. What is not there is a node without a value.
func (n node) at(keys ...string) node {
	for _, key := range keys {
		object, _ := n.value.(map[string]any)
		n = node{n.t, n.where + " " + key, object[key]}
	}
	return n
}

// each are the members of a list, and nothing where there is no list.
func (n node) each() (all []node) {
	list, _ := n.value.([]any)
	for _, value := range list {
		all = append(all, node{n.t, n.where, value})
	}
	return all
}

// keys are the names in an object.
func (n node) keys() (names []string) {
	object, _ := n.value.(map[string]any)
	for name := range object {
		names = append(names, name)
	}
	return names
}

// text is a value that has to be text.
func (n node) text() string {
	n.t.Helper()
	text, ok := n.value.(string)
	if !ok {
		n.t.Errorf("%s is %v, and has to be text", n.where, n.value)
	}
	return text
}

// is says what a value has to be.
func (n node) is(want any) {
	n.t.Helper()
	if n.value != want {
		n.t.Errorf("%s is %v, want %v", n.where, n.value, want)
	}
}

// Every YAML file is one.
func TestYAML(t *testing.T) {
	t.Parallel()
	for name := range delivered(t) {
		if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" {
			if len(documents(t, name)) == 0 {
				t.Errorf("%s is empty", name)
			}
		}
	}
}
