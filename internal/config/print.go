package config

import (
	"log/slog"
	"strings"
)

// Defaults returns the settings without any flag, environment or file.
func Defaults() Settings {
	var s Settings
	for _, setting := range Table() {
		if err := setting.set(&s, setting.Default); err != nil {
			panic("config: the default of --" + setting.Flag + " " + err.Error()) // the tests parse every default
		}
	}
	return s
}

// String returns every setting as a flag, with secrets redacted.
func (s Settings) String() string {
	var parts []string
	for _, setting := range Table() {
		parts = append(parts, "--"+setting.Flag+"="+setting.show(&s))
	}
	return strings.Join(parts, " ")
}

// LogValue returns every setting that has a value, with secrets redacted. A server logs it at start.
func (s Settings) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, setting := range Table() {
		if value := setting.show(&s); value != "" {
			attrs = append(attrs, slog.String(strings.ReplaceAll(setting.Flag, "-", "_"), value))
		}
	}
	return slog.GroupValue(attrs...)
}
