package telemetry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"orderflow/internal/telemetry"
)

// TestWithFormerNames: dashboards that use a renamed metric's former name get the same value.
func TestWithFormerNames(t *testing.T) {
	registry := prometheus.NewRegistry()
	jobs := prometheus.NewGauge(prometheus.GaugeOpts{Name: "orderflow_failed_jobs", Help: "Failed jobs."})
	other := prometheus.NewGauge(prometheus.GaugeOpts{Name: "orderflow_other", Help: "Another metric."})
	registry.MustRegister(jobs, other)
	jobs.Set(3)
	families, err := telemetry.WithFormerNames(registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	want := map[string]float64{"orderflow_failed_jobs": 3, "orderflow_dead_letters": 3, "orderflow_other": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gathered metrics (-want +got):\n%s", diff)
	}
}
