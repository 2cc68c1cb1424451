package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a settings file, in bytes: it is read into memory.
const maxFile = 1 << 20

// readFile reads a settings file and judges all of it. It returns the values by the names of the environment.
func readFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the settings file: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the settings file: %w", err)
	}
	return parseFile(path, data)
}

// parseFile reads lines NAME=value: the names of the environment, nothing around the = but the value, which may stand
// in double quotes (they keep spaces and #, and know no escapes). Blank lines and lines that begin with # do not count.
func parseFile(path string, data []byte) (map[string]string, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: has more than %d bytes, too many for a settings file", path, maxFile)
	}
	known := byEnv()
	values, lines := map[string]string{}, map[string]int{}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		name, value, err := parseLine(line)
		if name == "" && err == nil {
			continue
		}
		setting, ok := known[name]
		switch {
		case err != nil:
		case !ok:
			err = fmt.Errorf("%q is no setting; .env.example lists them all", clip(name))
		case setting.Flag == "config":
			err = fmt.Errorf("%s cannot stand in a settings file", name)
		case lines[name] > 0:
			err = fmt.Errorf("%s is set twice, first in line %d", name, lines[name])
		case value != "":
			if _, wrong := setting.parse(value); wrong != nil {
				err = fmt.Errorf("%s: %w", name, wrong)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		values[name], lines[name] = value, number
	}
	return values, nil
}

// parseLine returns no name for a line that does not count. Its errors do not show the value, which may be a secret.
func parseLine(line string) (name, value string, err error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	if !plain(line) {
		return "", "", errors.New("has characters that cannot be printed")
	}
	name, value, ok := strings.Cut(line, "=")
	if !ok || name == "" || strings.ContainsAny(name, " \"'") || strings.HasPrefix(value, " ") {
		return "", "", errors.New("is not NAME=value, a blank line or a # comment")
	}
	if strings.HasPrefix(value, `"`) {
		inner, found := strings.CutSuffix(value[1:], `"`)
		if !found || strings.Contains(inner, `"`) {
			return "", "", fmt.Errorf(`%s: a value in double quotes ends with the line and has none within`, clip(name))
		}
		return name, inner, nil
	}
	if strings.Contains(value, " #") {
		return "", "", fmt.Errorf(`%s: put the comment on a line of its own, or the value with its # in double quotes`, clip(name))
	}
	return name, value, nil
}

// clip cuts a name that is too long for an error.
func clip(name string) string { return name[:min(len(name), 60)] }
