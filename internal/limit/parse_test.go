package limit_test

import (
	"testing"
	"time"

	"orderflow/internal/limit"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]limit.Rate{
		"off":       {},
		"1/s":       {Tokens: 1, Per: time.Second},
		"10/s":      {Tokens: 10, Per: time.Second},
		"60/m":      {Tokens: 60, Per: time.Minute},
		"1000000/m": {Tokens: 1_000_000, Per: time.Minute},
	} {
		got, err := limit.ParseRate(text)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%+v spells itself %q, want %q", got, got.String(), text)
		}
	}
	for _, text := range []string{
		"", "/", "60", "60/", "/m", "m", "60/h", "60/min", "60 /m", "60/ m", " 60/m", "60/m ", "60m", "60/m/s", "0/s", "-1/s", "+1/s",
		"01/s", "1.5/s", "1e3/s", "1_000/s", "1000001/s", "99999999999999999999/s", "Off", "OFF", "none", "６0/m", "60/M",
	} {
		if got, err := limit.ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %+v and no error", text, got)
		}
	}
	if got := (limit.Rate{Tokens: 5, Per: 15 * time.Minute}).String(); got != "5/15m0s" {
		t.Errorf("a rate that settings cannot name spells itself %q", got)
	}
}

func FuzzParseRate(f *testing.F) {
	for _, text := range []string{"off", "60/m", "10/s", "1000000/s", "0/s", "+1/s", "/", "1/m/s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := limit.ParseRate(text)
		if err != nil {
			if rate != (limit.Rate{}) {
				t.Errorf("ParseRate(%q) = %+v with an error", text, rate)
			}
			return
		}
		if rate.String() != text {
			t.Errorf("ParseRate(%q) spells itself %q", text, rate)
		}
		if _, err := limit.NewLocal(1).Allow(t.Context(), "k", rate); err != nil {
			t.Errorf("ParseRate(%q) gave a rate that is refused: %v", text, err)
		}
	})
}
