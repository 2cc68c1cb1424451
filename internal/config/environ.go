package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// envPrefix begins the names in the environment that only Orderflow uses.
const envPrefix = "ORDERFLOW_"

// environment returns the variables of environ ("NAME=value") that are settings and have a value. A name that begins with
// ORDERFLOW_ and is not a setting is an error, so that a misspelt name does not go unnoticed.
func environment(environ []string) (map[string]string, error) {
	known := byEnv()
	values := map[string]string{}
	var unknown []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		_, isSetting := known[name]
		_, seen := values[name]
		switch {
		case isSetting && value != "" && !seen: // os.Getenv, too, returns the first of two
			values[name] = value
		case !isSetting && strings.HasPrefix(name, envPrefix) && !foreign(name):
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("%q in the environment is not a setting; .env.example lists all settings", clip(slices.Min(unknown)))
	}
	return values, nil
}

// quoted reports whether a value stands in quotes. Some programs that start processes keep the quotes, others remove them; then two
// processes would have different secrets.
func quoted(value string) bool {
	return len(value) > 1 && value[0] == value[len(value)-1] && (value[0] == '"' || value[0] == '\'')
}

func quotedError(name string) error {
	return fmt.Errorf("%s in the environment begins and ends with a quote, which would be part of the value; remove both quotes "+
		"(docker run --env-file keeps them)", name)
}

// Without returns environ without the names that this package reads or refuses.
func Without(environ []string) []string {
	known := byEnv()
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		_, isSetting := known[name]
		return isSetting || strings.HasPrefix(name, envPrefix)
	})
}

// foreign reports whether a name with our prefix belongs to the test suite, or to Kubernetes, which sets variables for each Service
// of the namespace, named after the Service.
func foreign(name string) bool {
	if name == "ORDERFLOW_SOAK" || strings.HasPrefix(name, "ORDERFLOW_TEST_") {
		return true
	}
	ofService := regexp.MustCompile(`^ORDERFLOW(_[A-Z0-9_]+)?_` +
		`(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)
	return ofService.MatchString(name)
}

// byEnv returns the table by the names in the environment, former names included.
func byEnv() map[string]Setting {
	settings := map[string]Setting{}
	for _, setting := range Table() {
		for _, name := range setting.names() {
			settings[name] = setting
		}
	}
	return settings
}
