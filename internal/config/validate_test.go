package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestRelations(t *testing.T) {
	const mysql = "mysql://u:hunter2@h/d"
	for _, c := range []struct {
		name   string
		change func(*Settings)
		want   []string // parts of the error; none for no error
	}{
		{"defaults", func(*Settings) {}, nil},
		{"lease just long enough", func(s *Settings) { s.Lease = s.ChargeTimeout + LeaseMargin + 1 }, nil},
		{"lease just too short", func(s *Settings) { s.Lease = s.ChargeTimeout + LeaseMargin }, []string{"--lease (15s)", "--charge-timeout (10s)", "5s"}},
		{"queue below batch", func(s *Settings) { s.QueueMax = 10 }, []string{"--queue-max (10)", "--batch-max (1000)"}},
		{"no batching", func(s *Settings) { s.BatchMax = 1; s.QueueMax = 1 }, nil},
		{"max time for all roles", func(s *Settings) { s.MaxTime = time.Hour }, []string{"--max-time (1h)", "--roles is api,worker"}},
		{"max time for a worker", func(s *Settings) { s.MaxTime = time.Hour; s.Roles = Roles{Worker: true} }, nil},
		{"api without an address", func(s *Settings) { s.Addr = AddrOff }, []string{"--addr off", "--roles is api,worker"}},
		{"worker without an address", func(s *Settings) { s.Addr = AddrOff; s.Roles = Roles{Worker: true} }, nil},
		{"public address without auth", func(s *Settings) { s.Addr = "0.0.0.0:8000" }, []string{"--addr (0.0.0.0:8000)", "--auth optional", "--auth required"}},
		{"public address, optional", func(s *Settings) { s.Addr = ":8000"; s.Auth = AuthOptional }, nil},
		{"public address, required", func(s *Settings) { s.Addr = ":8000"; s.Auth = AuthRequired }, nil},
		{"MySQL alone", func(s *Settings) { s.Database = NewURL(mysql) }, nil},
		{
			"the API alone over MySQL", func(s *Settings) { s.Database = NewURL(mysql); s.Roles = Roles{API: true} },
			[]string{"--roles api over MySQL (--database mysql://u:***@h/d) needs --redis"},
		},
		{
			"workers alone over MySQL", func(s *Settings) { s.Database = NewURL(mysql); s.Roles = Roles{Worker: true} },
			[]string{"--roles worker over MySQL", "needs --redis"},
		},
		{"split roles over MySQL and Redis", func(s *Settings) {
			s.Database, s.Redis, s.Roles = NewURL(mysql), NewURL("redis://h"), Roles{Worker: true}
		}, nil},
		{
			"realtime over MySQL and Redis without a secret", func(s *Settings) { s.Database, s.Redis = NewURL(mysql), NewURL("redis://h") },
			[]string{"--roles api,worker,realtime over MySQL and Redis needs --realtime-secret"},
		},
		{"realtime over MySQL and Redis", func(s *Settings) {
			s.Database, s.Redis, s.Roles, s.RealtimeSecret = NewURL(mysql), NewURL("redis://h"), Roles{Realtime: true}, NewSecret("s")
		}, nil},
		{"realtime alone", func(s *Settings) { s.Roles = Roles{Realtime: true} }, []string{"--roles realtime needs --redis"}},
		{
			"realtime beside the API over MySQL", func(s *Settings) { s.Database = NewURL(mysql); s.Roles = Roles{API: true, Realtime: true} },
			[]string{"--roles api,realtime over MySQL", "needs --redis"},
		},
		{"split roles over SQLite", func(s *Settings) { s.Roles = Roles{Worker: true} }, nil},
		{"Redis beside SQLite", func(s *Settings) { s.Redis = NewURL("redis://h") }, nil},
		{
			"a replica of MySQL beside PostgreSQL", func(s *Settings) { s.Database, s.DatabaseRead = NewURL("postgres://u:p@h/d"), NewURL(mysql) },
			[]string{"--database-read (mysql://u:***@h/d)", "--database is postgres://u:***@h/d"},
		},
		{
			"the API alone over PostgreSQL", func(s *Settings) { s.Database = NewURL("postgres://u:p@h/d"); s.Roles = Roles{API: true} },
			[]string{"--roles api over PostgreSQL (--database postgres://u:***@h/d) needs --redis"},
		},
		{"a replica of PostgreSQL", func(s *Settings) {
			s.Database, s.DatabaseRead = NewURL("postgres://u:p@h/d"), NewURL("postgresql://u:p@i/d")
		}, nil},
		{"a replica of MySQL", func(s *Settings) { s.Database, s.DatabaseRead = NewURL(mysql), NewURL(mysql) }, nil},
		{
			"a replica of SQLite", func(s *Settings) { s.DatabaseRead = NewURL(mysql) },
			[]string{"--database-read (mysql://u:***@h/d)", "--database is sqlite:orderflow.db"},
		},
		{"a worker's metrics on a public address", func(s *Settings) { s.Addr = ":8000"; s.Roles = Roles{Worker: true} }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Defaults()
			c.change(&s)
			err := s.Validate()
			if (err != nil) != (c.want != nil) {
				t.Fatalf("error %v", err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in: %v", part, err)
				}
			}
		})
	}
}

// Printed settings show that a secret is set, but not its text.
func TestSecretsAreRedacted(t *testing.T) {
	const hidden = "hunter2"
	s := Defaults()
	s.GatewaySecret = NewSecret(hidden)
	s.Database, s.DatabaseRead = NewURL("mysql://shop:"+hidden+"@db:3306/shop"), NewURL("mysql://shop:"+hidden+"@replica/shop")
	s.Redis = NewURL("redis://:" + hidden + "@a,b")
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("starting", "settings", s, "secret", s.GatewaySecret, "group", s.Payment)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"String": s.String(), "%v": fmt.Sprintf("%v", s), "%+v": fmt.Sprintf("%+v", s.Payment), "%#v": fmt.Sprintf("%#v", s.Payment),
		"%q": fmt.Sprintf("%q%q", s.GatewaySecret, s.Redis), "unexported": fmt.Sprintf("%+v", struct{ s Settings }{s}),
		"log": logged.String(), "json": string(encoded), "%x": fmt.Sprintf("%x%x", s.GatewaySecret, s.Database),
	} {
		if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	if !strings.Contains(s.String(), "--gateway-secret=(set)") || !strings.Contains(logged.String(), `"gateway_secret":"(set)"`) {
		t.Errorf("the secret is not shown as set: %s\n%s", s, logged.String())
	}
	if !strings.Contains(s.String(), "--database=mysql://shop:***@db:3306/shop") || !strings.Contains(logged.String(), `"redis":"redis://:***@a,b"`) {
		t.Errorf("the addresses are missing: %s\n%s", s, logged.String())
	}
	if s.GatewaySecret.Reveal() != hidden || (Secret{}).Reveal() != "" || NewSecret("") != (Secret{}) {
		t.Error("Reveal")
	}
}

func TestShownURLs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"sqlite:a@b:c.db":                  "sqlite:a@b:c.db",
		"mysql://u:p@h/d?tls=true":         "mysql://u:***@h/d?tls=true",
		"mysql://u:p@x@h/d":                "mysql://u:***@h/d",
		"mysql://u@h/d":                    "mysql://u@h/d",
		"mysql://u:@h/d":                   "mysql://u:***@h/d",
		"rediss://:p@a:1,b:2?master_set=m": "rediss://:***@a:1,b:2?master_set=m",
		"redis://a:1,b:2":                  "redis://a:1,b:2",
	} {
		if got := NewURL(text).String(); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

func TestPartsOfURLs(t *testing.T) {
	for text, want := range map[string]struct {
		hosts  string
		single bool
	}{
		"":                         {"", false},
		"sqlite:a/b?.db":           {"", false},
		"mysql://u:p@h/d?tls=true": {"h:3306", true},
		"postgres://u:p@h/d":       {"h:5432", true},
		"mysql://u@[::1]:33/d":     {"[::1]:33", true},
		"redis://[::1]":            {"[::1]:6379", true},
		"redis://:p@a:1,b":         {"a:1 b:6379", false},
		"redis://a?master_set=m":   {"a:26379", false},
	} {
		u := NewURL(text)
		if got := strings.Join(u.Hosts(), " "); got != want.hosts || u.Single() != want.single {
			t.Errorf("%q: hosts %q, single %v", text, got, u.Single())
		}
	}
	u := NewURL("mysql://u:p%40@h:1/d?tls=true").At("127.0.0.1:2").Named("other")
	if got := u.Reveal(); got != "mysql://u:p%40@127.0.0.1:2/other?tls=true" {
		t.Error(got)
	}
}

// The balancers of nginx, AWS and Traefik keep idle connections for up to 90 s, and must be the first to close them.
func TestIdleTimeoutSuitsBalancers(t *testing.T) {
	if got := Defaults().IdleTimeout; got <= 90*time.Second {
		t.Errorf("the default of --idle-timeout is %s, want more than 90 s", got)
	}
}
