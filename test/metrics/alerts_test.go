package metrics_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const prometheus = "deploy/prometheus/"

// promtool accepts the configuration and the rules, and the tests of the rules pass.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "alerts.yml"},
		{"test", "rules", "alerts_test.yml"},
	} {
		args[2] = filepath.Join(root, prometheus, args[2])
		if said, err := promtool(t, "", args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}

// Each alert has a severity, a test in which it fires, a test in which it stays silent, and a section of the runbook.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rules, tests, page := file(t, prometheus+"alerts.yml"), file(t, prometheus+"alerts_test.yml"), file(t, "docs/operations/runbook.md")
	var alerts []string
	for _, rule := range strings.Split(rules, "- alert: ")[1:] {
		name, _, _ := strings.Cut(rule, "\n")
		alerts = append(alerts, name)
		if !regexp.MustCompile(`severity: (critical|warning)\b`).MatchString(rule) {
			t.Errorf("%s has no severity", name)
		}
		if !strings.Contains(rule, "runbook_url: docs/operations/runbook.md#"+strings.ToLower(name)+"\n") {
			t.Errorf("%s does not link to its section", name)
		}
		silent := regexp.MustCompile(`alertname: ` + name + `\n\s+exp_alerts: \[\]`)
		firing := regexp.MustCompile(`alertname: ` + name + `\n\s+exp_alerts:\n\s+- exp_labels`)
		if !silent.MatchString(tests) || !firing.MatchString(tests) {
			t.Errorf("alerts_test.yml lacks a test in which %s fires, or one in which it stays silent", name)
		}
	}
	if len(alerts) < 12 {
		t.Fatalf("only the alerts %v: this test does not parse the rules correctly", alerts)
	}
	var sections []string
	for _, section := range strings.Split(page, "\n### ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		if !strings.HasPrefix(title, "Orderflow") {
			continue
		}
		sections = append(sections, title)
		for _, part := range []string{"**Meaning.** ", "**Customers.** ", "**Check.** ", "**Action.** "} {
			if !strings.Contains(text, part) {
				t.Errorf("docs/operations/runbook.md, %s, has no %q", title, part)
			}
		}
	}
	slices.Sort(alerts)
	slices.Sort(sections)
	if !slices.Equal(alerts, sections) {
		t.Errorf("alerts.yml has the alerts\n%v\nand docs/operations/runbook.md the sections\n%v", alerts, sections)
	}
}
