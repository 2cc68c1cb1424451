package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ours begins the names in the environment that are Orderflow's alone.
const ours = "ORDERFLOW_"

// environment returns the variables of environ ("NAME=value") that are settings and say something. It returns an error
// for a name that begins with ORDERFLOW_ and is no setting: a slip of the pen would otherwise go unnoticed.
func environment(environ []string) (map[string]string, error) {
	known := byEnv()
	values := map[string]string{}
	var unknown []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		_, isSetting := known[name]
		_, seen := values[name]
		switch {
		case isSetting && value != "" && !seen: // of two, os.Getenv knows the first
			values[name] = value
		case !isSetting && strings.HasPrefix(name, ours) && !foreign(name):
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%q in the environment is no setting; .env.example lists them all", clip(slices.Min(unknown)))
	}
	return values, nil
}

// quoted reports whether a value stands in quotes. Programs that start processes differ in whether they remove them, and a
// secret with its quotes differs from the one that another process has.
func quoted(value string) bool {
	return len(value) > 1 && value[0] == value[len(value)-1] && (value[0] == '"' || value[0] == '\'')
}

func quotedError(name string) error {
	return fmt.Errorf("%s in the environment begins and ends with a quote, which would be part of the value; remove both quotes: "+
		"docker run --env-file, for one, keeps them", name)
}

// Without returns environ without what this package would read or refuse.
func Without(environ []string) []string {
	known := byEnv()
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, isSetting := known[name]
		return isSetting || strings.HasPrefix(name, ours)
	})
}

// foreign reports whether a name that begins like ours was put there by somebody else: the test suite, or Kubernetes,
// which gives every container a handful of variables for each Service of the namespace, after the Service's name.
func foreign(name string) bool {
	if name == "ORDERFLOW_SOAK" || strings.HasPrefix(name, "ORDERFLOW_TEST_") {
		return true
	}
	ofService := regexp.MustCompile(`^ORDERFLOW(_[A-Z0-9_]+)?_` +
		`(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
	return ofService.MatchString(name)
}

// byEnv is the table by the names in the environment.
func byEnv() map[string]Setting {
	settings := map[string]Setting{}
	for _, setting := range Table() {
		settings[setting.Env] = setting
	}
	return settings
}
