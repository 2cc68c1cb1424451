package telemetry

import (
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// NewRegistry returns a registry with the metrics of every process: the Go runtime's (go_*), the operating system's
// (process_*, where it has them) and orderflow_build_info. No metric is registered globally, so that several servers can run
// in one process, as in tests.
func NewRegistry(version string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "orderflow_build_info",
		Help:        "Always 1. The labels are the version and the Go release that built it.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
	registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// formerNames returns the former names of renamed metrics.
func formerNames() map[string]string {
	return map[string]string{
		"orderflow_failed_jobs":              "orderflow_dead_letters",
		"orderflow_worker_failed_jobs_total": "orderflow_worker_dead_letters_total",
		"orderflow_bus_dead_lettered_total":  "orderflow_bus_set_aside_total",
		"orderflow_lock_stale_total":         "orderflow_lock_dead_holder_total",
	}
}

// WithFormerNames returns a gatherer that also exports each renamed metric under its former name, with the same value:
// dashboards and alert rules of an installation may still use that name.
func WithFormerNames(metrics prometheus.Gatherer) prometheus.Gatherer {
	names := formerNames()
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := metrics.Gather()
		for _, family := range families {
			if name, renamed := names[family.GetName()]; renamed {
				help := "Former name of " + family.GetName() + "."
				families = append(families, &dto.MetricFamily{Name: &name, Help: &help, Type: family.Type, Metric: family.Metric})
			}
		}
		slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
		return families, err
	})
}
