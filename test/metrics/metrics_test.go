package metrics_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"orderflow/internal/config"
)

// notMetrics are words in documents that look like metrics: the table of the migration lock, and the databases of bench.
var notMetrics = []string{"orderflow_migrating", "orderflow_bench_"}

// named matches metrics by their prefixes: Orderflow's, the Go runtime's and the process's.
var named = regexp.MustCompile(`\b(?:orderflow|go|process)_[a-z0-9_]+\b`)

// TestMetrics starts a process of each role. Together they export every metric that the dashboard, the alert rules and the documents name.
// Their metrics follow the conventions, and the documents describe all of them.
func TestMetrics(t *testing.T) {
	t.Parallel()
	shared := sharedSettings(t)
	api := serve(t, shared, config.Roles{API: true})
	worker := serve(t, shared, config.Roles{Worker: true})
	live := serve(t, shared, config.Roles{Realtime: true})
	traffic(t, api, live)
	have := map[string]string{"up": "of Prometheus itself"}
	for role, p := range map[string]process{"api": api, "worker": worker, "realtime": live} {
		status, text := p.ask(http.MethodGet, "/metrics", "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", role, status, text)
		}
		if said, err := promtool(t, text, "check", "metrics"); err != nil || said != "" {
			t.Errorf("%s: promtool check metrics: %v\n%s", role, err, said)
		}
		maps.Copy(have, names(text))
	}
	if len(have) < 100 {
		t.Fatalf("only %d metrics: this test does not parse them correctly", len(have))
	}
	described := file(t, "docs/operations/metrics.md")
	for path, text := range map[string]string{
		"deploy/grafana/dashboards/orderflow.json": file(t, "deploy/grafana/dashboards/orderflow.json"),
		"deploy/prometheus/alerts.yml":             file(t, "deploy/prometheus/alerts.yml"),
		"deploy/prometheus/alerts_test.yml":        file(t, "deploy/prometheus/alerts_test.yml"),
		"load-tests/soak-test.js":                  file(t, "load-tests/soak-test.js"),
		"docs/operations/configure.md":             file(t, "docs/operations/configure.md"),
		"docs/operations/failures.md":              file(t, "docs/operations/failures.md"),
		"docs/operations/metrics.md":               described,
		"docs/operations/run.md":                   file(t, "docs/operations/run.md"),
		"docs/operations/runbook.md":               file(t, "docs/operations/runbook.md"),
		"docs/operations/upgrade.md":               file(t, "docs/operations/upgrade.md"),
		"docs/performance.md":                      file(t, "docs/performance.md"),
		"docs/quickstart.md":                       file(t, "docs/quickstart.md"),
		"docs/scale.md":                            file(t, "docs/scale.md"),
		"docs/architecture.md":                     file(t, "docs/architecture.md"),
		"README.md":                                file(t, "README.md"),
	} {
		for _, name := range named.FindAllString(text, -1) {
			if have[name] == "" && !slices.Contains(notMetrics, name) {
				t.Errorf("%s names %s, which no server exports", path, name)
			}
		}
	}
	for name, kind := range have {
		if strings.HasPrefix(name, "orderflow_") && kind != "series" && !strings.Contains(described, "`"+name+"`") {
			t.Errorf("docs/operations/metrics.md does not describe %s", name)
		}
	}
}
