package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write .env.example from the table")

const exampleFile = "../../.env.example"

// .env.example is generated from the table.
func TestExampleFileIsTheTable(t *testing.T) {
	want := example()
	if *update {
		if err := os.WriteFile(exampleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from the table; run: go test ./internal/config -run ExampleFile -update\n%s",
			exampleFile, cmp.Diff(string(want), string(got)))
	}
}

// example is the table in the format of a settings file, with every line commented out.
func example() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Every setting of Orderflow with its flag and its default. Copy this file, uncomment the lines that you change, and\n"+
		"# pass the copy by --config FILE or ORDERFLOW_CONFIG, or set the names in the environment. Flags override the\n"+
		"# environment, and the environment overrides the file.\n")
	group := ""
	for _, s := range Table() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n# --- %s ---\n", group)
		}
		text := "--" + s.Flag + ": " + s.Help
		if s.Unset != "" {
			text += " Default: " + s.Unset + "."
		}
		fmt.Fprintf(&b, "\n%s#%s=%s\n", comment(text), s.Env, s.Default)
	}
	return b.Bytes()
}

// comment wraps a text into comment lines.
func comment(text string) string {
	var b strings.Builder
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 118 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// Uncommented, the lines of the example file are the defaults.
func TestExampleFileHoldsTheDefaults(t *testing.T) {
	var lines []string
	for line := range strings.Lines(string(example())) {
		name, value, isSetting := strings.Cut(strings.TrimPrefix(line, "#"), "=")
		if isSetting && !strings.Contains(name, " ") && name != "ORDERFLOW_CONFIG" {
			lines = append(lines, name+"="+value)
		}
	}
	if want := len(Table()) - 1; len(lines) != want {
		t.Fatalf("%d settings in the example, want %d", len(lines), want)
	}
	s := mustParse(t, nil, nil, strings.Join(lines, ""))
	s.Config = ""
	if diff := cmp.Diff(Defaults(), s, compare); diff != "" {
		t.Error(diff)
	}
}

// Every row is complete, and its names follow one pattern.
func TestTableRows(t *testing.T) {
	flags, names := map[string]bool{}, map[string]bool{}
	// Names that other programs use too.
	shared := map[string]bool{"database": true, "database-read": true, "database-pool": true, "redis": true, "redis-prefix": true, "otlp-endpoint": true}
	for _, s := range Table() {
		isSwitch := s.Default == "true" || s.Default == "false"
		if s.Flag == "" || s.Env == "" || s.Group == "" || (s.Value == "") != isSwitch || !strings.HasSuffix(s.Help, ".") || s.set == nil {
			t.Errorf("--%s: the row is not complete: %+v", s.Flag, s)
		}
		if flags[s.Flag] || names[s.Env] {
			t.Errorf("--%s, %s: duplicate row", s.Flag, s.Env)
		}
		flags[s.Flag], names[s.Env] = true, true
		if want := envPrefix + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_")); s.Env != want && !shared[s.Flag] {
			t.Errorf("--%s: environment name %s, want %s", s.Flag, s.Env, want)
		}
		if strings.ContainsAny(s.Help, "\n$") {
			t.Errorf("--%s: help is one line, and the parser reads $ as a variable", s.Flag)
		}
		if s.Default == "" {
			var zero Settings
			if err := s.set(&zero, ""); err != nil || !reflect.ValueOf(zero).IsZero() {
				t.Errorf("--%s: has no default, so \"\" must stand for its zero value: %v, %v", s.Flag, err, zero)
			}
		}
	}
}

// Every field of Settings has a row in the table, and the row sets only that field.
func TestEveryFieldHasItsRow(t *testing.T) {
	rows := map[string]Setting{}
	for _, s := range Table() {
		rows[s.Flag] = s
	}
	groups := reflect.TypeFor[Settings]()
	seen := 0
	for i := range groups.NumField() {
		for j := range groups.Field(i).Type.NumField() {
			field := groups.Field(i).Type.Field(j)
			row, ok := rows[field.Tag.Get("name")]
			if !ok {
				t.Errorf("%s.%s: no row in the table", groups.Field(i).Name, field.Name)
				continue
			}
			seen++
			if strings.ReplaceAll(row.Flag, "-", "") != strings.ToLower(field.Name) {
				t.Errorf("%s.%s has the flag --%s", groups.Field(i).Name, field.Name, row.Flag)
			}
			s := Defaults()
			if err := row.set(&s, other(row.Flag)); err != nil {
				t.Errorf("--%s: %v", row.Flag, err)
			}
			changed, unchanged := reflect.ValueOf(s), reflect.ValueOf(Defaults())
			changed.Field(i).Field(j) // must exist
			for k := range groups.NumField() {
				for l := range groups.Field(k).Type.NumField() {
					same := reflect.DeepEqual(changed.Field(k).Field(l).Interface(), unchanged.Field(k).Field(l).Interface())
					if same == (k == i && l == j) {
						t.Errorf("--%s: field %s changed: %v", row.Flag, groups.Field(k).Type.Field(l).Name, !same)
					}
				}
			}
		}
	}
	if seen != len(rows) {
		t.Errorf("%d rows in the table, %d fields", len(rows), seen)
	}
}

// other is a value of the setting that is not its default.
func other(flag string) string {
	return map[string]string{
		"config": "other.env", "log-level": "warn", "log-format": "json", "database": "sqlite:other.db", "currency": "EUR",
		"database-read": "mysql://u:p@replica/d", "database-pool": "8", "redis": "redis://h:6379", "redis-prefix": "shop:",
		"roles": "worker", "max-time": "1h", "drain-delay": "5s", "samples": "true", "addr": "127.0.0.1:9000", "realtime-addr": "127.0.0.1:9001", "realtime-app-id": "a", "realtime-key": "k",
		"realtime-secret": "s", "auth": "optional", "rate-limit": "5/s", "admin-rate-limit": "500/s",
		"trusted-proxies": "10.0.0.0/8", "idle-timeout": "11m", "allowed-origins": "https://shop.example", "otlp-endpoint": "http://collector:4318", "trace-sample": "0.5", "batch-max": "1", "queue-max": "2000",
		"worker-concurrency": "8", "payment-attempts": "5", "backoff": "2s", "lease": "1m", "charge-timeout": "20s",
		"gateway": "https://pay.example", "gateway-secret": "s3cret", "simulated-latency": "0", "simulated-success": "1",
		"simulated-seed": "seven",
	}[flag]
}
