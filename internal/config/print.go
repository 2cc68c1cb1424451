package config

import (
	"log/slog"
	"strings"
)

// Defaults returns the settings that hold when nothing is said.
func Defaults() Settings {
	var s Settings
	for _, setting := range Table() {
		if err := setting.set(&s, setting.Default); err != nil {
			panic("config: the default of --" + setting.Flag + " " + err.Error()) // the tests hold that it never comes to this
		}
	}
	return s
}

// String is every setting as it could stand on a command line, secrets redacted.
func (s Settings) String() string {
	var parts []string
	for _, setting := range Table() {
		parts = append(parts, "--"+setting.Flag+"="+setting.show(&s))
	}
	return strings.Join(parts, " ")
}

// LogValue is every setting that has a value, secrets redacted: what a server logs of its settings at start.
func (s Settings) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, setting := range Table() {
		if value := setting.show(&s); value != "" {
			attrs = append(attrs, slog.String(strings.ReplaceAll(setting.Flag, "-", "_"), value))
		}
	}
	return slog.GroupValue(attrs...)
}
