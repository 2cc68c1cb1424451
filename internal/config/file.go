package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// maxFile bounds a settings file, in bytes: it is read into memory.
const maxFile = 1 << 20

// readFile reads and checks a settings file. It returns the values by the names of the environment.
func readFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the settings file: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the settings file: %w", err)
	}
	return parseFile(path, data)
}

// parseFile reads lines NAME=value with the names of the environment, blank lines and lines that begin with #. Docker Compose
// (compose-go, package dotenv) and systemd (EnvironmentFile=) read the same values; a line that they read differently is an error,
// so that all processes with one file have the same settings:
//
//	NAME=value      white space after the value is removed. $, \ and a # after a space are refused
//	NAME="value"    the quotes are removed. $, \ and " are refused: Compose inserts variables and reads escapes, systemd
//	                reads other escapes
//	NAME='value'    the quotes are removed; everything else is literal. ' and a \ at the end are refused
//
// It is stricter than both: a name must be a setting and is set once, and spaces around the = or text after a closing quote are
// errors.
func parseFile(path string, data []byte) (map[string]string, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: has more than %d bytes, too many for a settings file", path, maxFile)
	}
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return nil, fmt.Errorf("%s:1: begins with a byte order mark; save the file as UTF-8 without one", path)
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
			err = fmt.Errorf("%q is not a setting; .env.example lists all settings", clip(name))
		case setting.Flag == "config":
			err = fmt.Errorf("%s cannot be set in a settings file", name)
		case lines[setting.Env] > 0:
			err = fmt.Errorf("%s is set twice, first in line %d", name, lines[setting.Env])
		case value != "":
			if _, wrong := setting.parse(value); wrong != nil {
				err = fmt.Errorf("%s: %w", name, wrong)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		values[name], lines[setting.Env] = value, number
	}
	return values, nil
}

// settingName matches the name of a setting. Errors show no other text of a line, which may be part of a secret.
var settingName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// parseLine returns no name for a blank line or a comment. Its errors do not show the value, which may be a secret.
func parseLine(line string) (name, value string, err error) {
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r") // as Windows ends lines, and both programs read them
	line = strings.Trim(line, " \t")
	if line == "" || line[0] == '#' {
		return "", "", checkComment(line)
	}
	if !plain(line) {
		return "", "", errors.New("has characters that cannot be printed; save the file as UTF-8 text without control characters")
	}
	name, value, found := strings.Cut(line, "=")
	trimmed := strings.TrimPrefix(strings.TrimSpace(name), "export ")
	switch {
	case !found || !settingName.MatchString(strings.TrimSpace(trimmed)):
		return "", "", errors.New("is not NAME=value, a blank line or a # comment; NAME is in capitals")
	case trimmed != strings.TrimSpace(name):
		return "", "", fmt.Errorf("%s: remove export before the name: systemd does not read it", clip(strings.TrimSpace(trimmed)))
	case strings.HasSuffix(name, " ") || strings.HasPrefix(value, " "):
		return "", "", fmt.Errorf("%s: remove the spaces around the =", clip(trimmed))
	}
	if value, err = unquote(value); err != nil {
		return "", "", fmt.Errorf("%s: %w", clip(name), err)
	}
	return name, value, nil
}

// checkComment refuses a comment that one of the programs may read as a setting, or that swallows the next line.
func checkComment(line string) error {
	switch {
	case strings.ContainsAny(line, "\r\x00"):
		return errors.New("has characters that cannot be printed; save the file as UTF-8 text without control characters")
	case strings.HasSuffix(line, `\`):
		return errors.New(`is a comment that ends with \; remove the \, with which systemd before 254 continues the comment in the next line`)
	default:
		return nil
	}
}

// unquote returns the value of the text after the =.
func unquote(text string) (string, error) {
	if text == "" || text[0] != '"' && text[0] != '\'' {
		switch {
		case strings.Contains(text, " #"):
			return "", errors.New("put the comment on a line of its own, or the value with its # in single quotes")
		case strings.ContainsAny(text, `$\`):
			return "", errors.New(`put the value in single quotes: Compose and systemd read its $ or \ differently`)
		default:
			return text, nil
		}
	}
	value, rest, closed := strings.Cut(text[1:], text[:1])
	switch {
	case !closed:
		return "", errors.New("the closing quote is missing; a value in quotes ends in its line")
	case rest != "":
		return "", errors.New("remove the text after the closing quote; a value that has one kind of quotes stands in the other kind")
	case text[0] == '"' && strings.ContainsAny(value, `$\`):
		return "", errors.New(`put the value in single quotes instead of double ones: Compose and systemd read its $ or \ differently`)
	case text[0] == '\'' && strings.HasSuffix(value, `\`):
		return "", errors.New(`the value ends with \, which Compose and systemd read differently; choose another value`)
	default:
		return value, nil
	}
}

// clip shortens a name for an error.
func clip(name string) string { return name[:min(len(name), 60)] }
