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
		{"open to all, unsaid", func(s *Settings) { s.Addr = "0.0.0.0:8000" }, []string{"--addr (0.0.0.0:8000)", "--auth optional"}},
		{"open to all, said", func(s *Settings) { s.Addr = ":8000"; s.Auth = AuthOptional }, nil},
		{"a worker's metrics open to all", func(s *Settings) { s.Addr = ":8000"; s.Roles = Roles{Worker: true} }, nil},
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

// However settings are printed, the secret does not show; that it is set does.
func TestSecretsAreRedacted(t *testing.T) {
	const hidden = "hunter2"
	s := Defaults()
	s.GatewaySecret = NewSecret(hidden)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("starting", "settings", s, "secret", s.GatewaySecret, "group", s.Payment)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"String": s.String(), "%v": fmt.Sprintf("%v", s), "%+v": fmt.Sprintf("%+v", s.Payment), "%#v": fmt.Sprintf("%#v", s.Payment),
		"%q": fmt.Sprintf("%q", s.GatewaySecret), "unexported": fmt.Sprintf("%+v", struct{ s Settings }{s}),
		"log": logged.String(), "json": string(encoded), "%x": fmt.Sprintf("%x", s.GatewaySecret),
	} {
		if strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
			t.Errorf("%s shows the secret: %s", name, text)
		}
	}
	if !strings.Contains(s.String(), "--gateway-secret=(set)") || !strings.Contains(logged.String(), `"gateway_secret":"(set)"`) {
		t.Errorf("does not say that the secret is set: %s\n%s", s, logged.String())
	}
	if s.GatewaySecret.Reveal() != hidden || (Secret{}).Reveal() != "" || NewSecret("") != (Secret{}) {
		t.Error("Reveal")
	}
}
