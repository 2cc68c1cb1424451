package metrics_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const prometheus = "deploy/prometheus/"

// Prometheus takes the configuration and the rules, and the rules do what their tests say.
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

// Each alert is seen to fire and seen to stay silent, has a severity, and leads to a section that has it for a title.
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
			t.Errorf("%s does not lead to its section", name)
		}
		silent := regexp.MustCompile(`alertname: ` + name + `\n\s+exp_alerts: \[\]`)
		firing := regexp.MustCompile(`alertname: ` + name + `\n\s+exp_alerts:\n\s+- exp_labels`)
		if !silent.MatchString(tests) || !firing.MatchString(tests) {
			t.Errorf("%s is not seen to fire and to stay silent in alerts_test.yml", name)
		}
	}
	if len(alerts) < 12 {
		t.Fatalf("only %v: this test does not read the rules right", alerts)
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
