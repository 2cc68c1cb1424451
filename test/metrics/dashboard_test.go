package metrics_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// dashboard is the part of Grafana's format that the tests use.
type dashboard struct {
	UID    string
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Grid                     struct{ H, W, X, Y int } `json:"gridPos"`
	Source                   struct{ UID string }     `json:"datasource"`
	Field                    struct {
		Defaults struct{ Unit string }
	} `json:"fieldConfig"`
	Targets []struct {
		Ref    string `json:"refId"`
		Expr   string
		Source struct{ UID string } `json:"datasource"`
	}
}

const grafana = "deploy/grafana/"

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(file(t, grafana+"dashboards/orderflow.json")), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 30 || d.UID == "" {
		t.Fatalf("%d panels, uid %q: this test does not parse the dashboard correctly", len(d.Panels), d.UID)
	}
	return d
}

// Panels have unique ids, do not overlap on the grid of 24 columns, have a title, a description and a unit, and use the provisioned data
// source.
func TestDashboardPanels(t *testing.T) {
	t.Parallel()
	source := file(t, grafana+"provisioning/datasources/prometheus.yml")
	ids, taken := map[int]string{}, map[[2]int]string{}
	for _, p := range readDashboard(t).Panels {
		if ids[p.ID] != "" || p.ID < 1 {
			t.Errorf("%q and %q have the id %d", ids[p.ID], p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		g := p.Grid
		if g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
			t.Errorf("%q is outside of the grid: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%q overlaps %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.Field.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("%q lacks a title, a description, a unit or a query", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(source, "uid: "+target.Source.UID+" ") || target.Source != p.Source {
				t.Errorf("%q uses the data source %q, which is not provisioned", p.Title, target.Source.UID)
			}
		}
	}
	for y := range len(taken) / 24 {
		if taken[[2]int{0, y}] == "" || taken[[2]int{23, y}] == "" {
			t.Errorf("row %d of the grid is not full", y)
		}
	}
}

// Every expression is valid. promtool does not read dashboards, so it checks the expressions as rules.
func TestDashboardExpressions(t *testing.T) {
	t.Parallel()
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	shown := map[string]bool{}
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			expression := variables.Replace(target.Expr)
			if strings.Contains(expression, "$") {
				t.Errorf("%q uses an unknown variable: %s", p.Title, target.Expr)
			}
			fmt.Fprintf(&rules, "  - {record: 'panel:%d:%s', expr: %s}\n", p.ID, target.Ref, strconv.Quote(expression))
			for _, name := range named.FindAllString(expression, -1) {
				shown[name] = true
			}
		}
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := promtool(t, "", "check", "rules", path); err != nil {
		t.Errorf("promtool: %v\n%s", err, said)
	}
	// Every metric of an alert is on the dashboard.
	for _, name := range named.FindAllString(file(t, prometheus+"alerts.yml"), -1) {
		if !shown[name] && !slices.Contains(notMetrics, name) {
			t.Errorf("an alert uses %s, but no panel shows it", name)
		}
	}
}
