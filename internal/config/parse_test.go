package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// compare lets cmp compare types with unexported fields.
var compare = cmp.Options{
	cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() }),
	cmp.Comparer(func(a, b URL) bool { return a.Reveal() == b.Reveal() }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// commands is a command line with a command that has all settings, two that have few, and one that has none.
type commands struct {
	Serve struct {
		Settings
	} `cmd:""`
	Audit struct {
		Common
		Store
	} `cmd:""`
	FailedJobs struct {
		Common
		Leases
		Intake
	} `cmd:""`
	Version struct{} `cmd:""`
}

// parse runs the parser as the command line does, with file as the contents of a settings file when not "".
func parse(t testing.TB, args, environ []string, file string) (commands, error) {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, kong.Name("orderflow"), Option(environ), kong.Exit(func(int) { t.Fatal("exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if file != "" {
		path := filepath.Join(t.TempDir(), "settings.env")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	_, err = parser.Parse(args)
	return c, err
}

func mustParse(t testing.TB, args, environ []string, file string) Settings {
	t.Helper()
	c, err := parse(t, append([]string{"serve"}, args...), environ, file)
	if err != nil {
		t.Fatal(err)
	}
	return c.Serve.Settings
}

func TestDefaults(t *testing.T) {
	s := mustParse(t, nil, nil, "")
	if diff := cmp.Diff(Defaults(), s, compare); diff != "" {
		t.Error(diff)
	}
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
}

// Each setting has three sources: a flag overrides the environment, which overrides the file.
func TestPrecedence(t *testing.T) {
	for _, row := range Table() {
		if row.Flag == "config" {
			continue
		}
		t.Run(row.Flag, func(t *testing.T) {
			value := other(row.Flag)
			args := []string{}
			switch row.Flag {
			case "max-time":
				args = append(args, "--roles", "worker")
			case "database-read":
				args = append(args, "--database", "mysql://u:p@h/d")
			}
			flagged := append(args, "--"+row.Flag+"="+value)
			entry := row.Env + "=" + value
			before := row.Env + "=" + row.Default // is overridden
			for name, s := range map[string]Settings{
				"flag":                       mustParse(t, flagged, nil, ""),
				"environment":                mustParse(t, args, []string{entry}, ""),
				"file":                       mustParse(t, args, nil, entry+"\n"),
				"flag over environment":      mustParse(t, flagged, []string{before}, ""),
				"flag over file":             mustParse(t, flagged, nil, before+"\n"),
				"environment over file":      mustParse(t, args, []string{entry}, before+"\n"),
				"environment, empty":         mustParse(t, args, []string{row.Env + "="}, entry+"\n"),
				"flag over an invalid value": mustParse(t, flagged, []string{row.Env + "=\x00"}, ""),
			} {
				if got := row.print(&s); got != value {
					t.Errorf("%s: got %q, want %q", name, got, value)
				}
			}
		})
	}
}

func TestConfigFromTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "settings.env")
	if err := os.WriteFile(path, []byte("ORDERFLOW_BATCH_MAX=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustParse(t, nil, []string{"ORDERFLOW_CONFIG=" + path}, "")
	if s.BatchMax != 7 || s.Config != path {
		t.Errorf("batch-max %d, config %q", s.BatchMax, s.Config)
	}
}

// A former name works as a flag, in the environment and in a file. The present name wins, and help does not show the former one.
func TestFormerNames(t *testing.T) {
	for name, s := range map[string]Settings{
		"flag":                   mustParse(t, []string{"--tries", "7"}, nil, ""),
		"environment":            mustParse(t, nil, []string{"ORDERFLOW_TRIES=7"}, ""),
		"file":                   mustParse(t, nil, nil, "ORDERFLOW_TRIES=7\n"),
		"environment over file":  mustParse(t, nil, []string{"ORDERFLOW_TRIES=7"}, "ORDERFLOW_PAYMENT_ATTEMPTS=5\n"),
		"present name":           mustParse(t, nil, []string{"ORDERFLOW_TRIES=5", "ORDERFLOW_PAYMENT_ATTEMPTS=7"}, ""),
		"flag over present name": mustParse(t, []string{"--tries=7"}, []string{"ORDERFLOW_PAYMENT_ATTEMPTS=5"}, ""),
	} {
		if s.PaymentAttempts != 7 {
			t.Errorf("%s: %d payment attempts, want 7", name, s.PaymentAttempts)
		}
	}
	for name, c := range map[string]struct {
		environ []string
		file    string
		want    string
	}{
		"invalid in the environment": {[]string{"ORDERFLOW_TRIES=often"}, "", "ORDERFLOW_TRIES in the environment must be a whole number"},
		"invalid in a file":          {nil, "ORDERFLOW_TRIES=often\n", "settings.env:1: ORDERFLOW_TRIES: must be a whole number"},
		"both in a file":             {nil, "ORDERFLOW_PAYMENT_ATTEMPTS=3\nORDERFLOW_TRIES=3\n", "settings.env:2: ORDERFLOW_TRIES is set twice, first in line 1"},
	} {
		_, err := parse(t, []string{"serve"}, c.environ, c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	if left := Without([]string{"ORDERFLOW_TRIES=7", "DATABASE_URL=x", "PATH=/bin"}); !cmp.Equal(left, []string{"PATH=/bin"}) {
		t.Errorf("Without left %q", left)
	}
}

// A file serves every command, also those that use few of its settings.
func TestFileForACommandWithFewSettings(t *testing.T) {
	c, err := parse(t, []string{"audit"}, nil, "DATABASE_URL=sqlite:x.db\nORDERFLOW_LEASE=40s\n")
	if err != nil || c.Audit.Database.Reveal() != "sqlite:x.db" {
		t.Errorf("%q, %v", c.Audit.Database, err)
	}
	if _, err := parse(t, []string{"audit"}, nil, "ORDERFLOW_LEASE=never\n"); err == nil {
		t.Error("an invalid value of a setting that the command does not use was accepted")
	}
}

// An error is one line that names its source.
func TestInvalidSettings(t *testing.T) {
	for _, c := range []struct {
		name          string
		args, environ []string
		file          string
		want          string // "" for no error
	}{
		{name: "flag", args: []string{"serve", "--lease", "soon"}, want: `--lease: must be a duration from 1s to 24h, such as 1.5s or 2m, not "soon"`},
		{name: "unknown flag", args: []string{"serve", "--leash", "30s"}, want: "unknown flag --leash"},
		{name: "traces, malformed", args: []string{"serve", "--otlp-endpoint", "collector:4318"}, want: "must be the base URL of an OTLP receiver"},
		{name: "traces, with a password", args: []string{"serve", "--otlp-endpoint", "http://u:p@h:4318"}, want: "OTEL_EXPORTER_OTLP_HEADERS"},
		{
			name: "environment", args: []string{"serve"}, environ: []string{"ORDERFLOW_BATCH_MAX=0"},
			want: `ORDERFLOW_BATCH_MAX in the environment must be a whole number from 1 to 10000, not "0"`,
		},
		{
			name: "unknown name in the environment", args: []string{"serve"}, environ: []string{"PATH=/bin", "ORDERFLOW_TRYS=3"},
			want: `"ORDERFLOW_TRYS" in the environment is not a setting`,
		},
		{name: "unknown name, command without settings", args: []string{"version"}, environ: []string{"ORDERFLOW_TRYS=3"}},
		{name: "Redis, malformed", args: []string{"serve"}, environ: []string{"REDIS_URL=x"}, want: "REDIS_URL in the environment must be redis://"},
		{name: "other programs' Redis", args: []string{"audit"}, environ: []string{"REDIS_URL=x"}},
		{name: "traces, empty", args: []string{"serve"}, environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT="}},
		{name: "other programs' database", args: []string{"serve", "--database=sqlite:x.db"}, environ: []string{"DATABASE_URL=postgres://u:p@h/d"}},
		{name: "names of Kubernetes and tests", args: []string{"serve"}, environ: []string{
			"ORDERFLOW_SERVICE_HOST=10.0.0.1", "ORDERFLOW_PORT=tcp://10.0.0.1:80", "ORDERFLOW_PORT_80_TCP_ADDR=10.0.0.1",
			"ORDERFLOW_API_SERVICE_PORT_HTTP=80", "ORDERFLOW_TEST_MYSQL=x", "ORDERFLOW_SOAK=1m",
		}},
		{name: "file, unknown", args: []string{"serve"}, file: "# a\n\nORDERFLOW_TRYS=3\n", want: `settings.env:3: "ORDERFLOW_TRYS" is not a setting`},
		{
			name: "file, twice", args: []string{"serve"}, file: "ORDERFLOW_BATCH_MAX=3\nORDERFLOW_BATCH_MAX=3\n",
			want: "settings.env:2: ORDERFLOW_BATCH_MAX is set twice, first in line 1",
		},
		{name: "file, malformed", args: []string{"serve"}, file: "tries: 3\n", want: "settings.env:1: is not NAME=value"},
		{
			name: "file, value", args: []string{"serve"}, file: "ORDERFLOW_BATCH_MAX=many\n",
			want: `settings.env:1: ORDERFLOW_BATCH_MAX: must be a whole number from 1 to 10000, not "many"`,
		},
		{name: "file, value, though the flag wins", args: []string{"serve", "--batch-max=3"}, file: "ORDERFLOW_BATCH_MAX=many\n", want: "settings.env:1"},
		{name: "file names a file", args: []string{"serve"}, file: "ORDERFLOW_CONFIG=x\n", want: "settings.env:1: ORDERFLOW_CONFIG cannot be set in a settings file"},
		{name: "no such file", args: []string{"serve", "--config", "/nonexistent/x.env"}, want: "the settings file: open /nonexistent/x.env"},
		{name: "relations", args: []string{"serve", "--lease=12s"}, want: "--lease (12s) must be longer than --charge-timeout (10s) plus 5s"},
		{name: "relations of a group", args: []string{"failed-jobs", "--lease=12s"}, want: "--lease (12s) must be longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.args, c.environ, c.file)
			if c.want == "" {
				if err != nil {
					t.Errorf("unexpected: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v\nwant one line with %q", err, c.want)
			}
		})
	}
}

// No error shows a secret, or the URL of a database.
func TestErrorsKeepSecrets(t *testing.T) {
	const hidden = "hunter2"
	for _, c := range []struct {
		args, environ []string
		file          string
	}{
		{args: []string{"--gateway-secret", hidden + "\x00"}},
		{environ: []string{"ORDERFLOW_GATEWAY_SECRET=" + hidden + "\n"}},
		{file: "ORDERFLOW_GATEWAY_SECRET=\"" + hidden},
		{file: "ORDERFLOW_GATEWAY_SECRET = " + hidden},
		{file: "ORDERFLOW_GATEWAY_SECRET: " + hidden},
		{file: "ORDERFLOW_GATEWAY_SECRET=" + hidden + " # mine"},
		{args: []string{"--database", "mysql://u:" + hidden + "@h"}},
		{args: []string{"--database", "mysql://u:" + hidden + "%zz@h/d"}},
		{args: []string{"--database", "mysql://u:p@h/" + hidden + "?x=" + hidden}},
		{args: []string{"--database", "mysql://u:" + hidden + "@h/d", "--roles", "api"}},
		{environ: []string{"DATABASE_READ_URL=mysql://u:" + hidden + "@h/d"}},
		{environ: []string{"REDIS_URL=redis://u:" + hidden + "@h:x"}},
		{file: "REDIS_URL=redis://u:" + hidden + "@h,i/1\n"},
		{args: []string{"--database", "oracle://u:" + hidden + "@h/d"}},
		{environ: []string{"DATABASE_URL=sqlite://" + hidden}},
		{args: []string{"--gateway", "https://u:" + hidden + "@pay.example"}},
		{args: []string{"--gateway", "https://u:" + hidden + "%zz@pay.example"}},
	} {
		_, err := parse(t, append([]string{"serve"}, c.args...), c.environ, c.file)
		if err == nil || strings.Contains(err.Error(), hidden) {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

func TestHelpNamesEverySettingWithItsDefault(t *testing.T) {
	var c commands
	var out strings.Builder
	parser, err := kong.New(&c, kong.Name("orderflow"), Option(nil), kong.Writers(&out, &out), kong.Exit(func(int) { panic(t) }))
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }() // the parser exits after help
		_, _ = parser.Parse([]string{"serve", "--help"})
	}()
	help := strings.Join(strings.Fields(out.String()), " ")
	for _, s := range Table() {
		shown := "--" + s.Flag
		if s.Value != "" {
			shown += "=" + s.Value
		}
		for _, want := range []string{shown, s.Help, s.Env, "default: " + s.defaultText()} {
			if !strings.Contains(help, want) {
				t.Errorf("--%s: %q is missing in the help:\n%s", s.Flag, want, out.String())
			}
		}
		for _, former := range s.names()[1:] {
			if strings.Contains(help, former) || strings.Contains(help, "--"+s.Alias) {
				t.Errorf("--%s: help shows its former name:\n%s", s.Flag, out.String())
			}
		}
	}
}
