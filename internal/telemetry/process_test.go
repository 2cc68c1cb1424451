package telemetry

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A server survives the exit of the reader of its standard error, and ends with its own exit code.
func TestProcessSurvivesABrokenPipe(t *testing.T) {
	if os.Getenv("TELEMETRY_CHILD") != "" {
		SurviveBrokenPipes()
		l := NewLog(os.Stderr, LogOptions{})
		lost := make(chan struct{}, 1)
		l.options.Dropped = func(int) { notify(lost) }
		l.Logger().Error("the reader has exited")
		<-lost
		if err := l.Close(context.Background()); err != nil {
			os.Exit(1)
		}
		os.Exit(7)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcessSurvivesABrokenPipe$")
	child.Env = append(os.Environ(), "TELEMETRY_CHILD=1")
	child.Stderr = w
	err = child.Run()
	if code := child.ProcessState.ExitCode(); code != 7 {
		t.Errorf("ended with %d: %v", code, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSurviveBrokenPipesCanBeUndone(*testing.T) { SurviveBrokenPipes()() }

func TestTerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if Terminal(f) {
		t.Error("the null device is not a terminal")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRegistry(t *testing.T) {
	registry, other := NewRegistry("1.2.3"), NewRegistry("1.2.3") // two registries of one process are independent
	for _, r := range []*prometheus.Registry{registry, other} {
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, family := range families {
			names = append(names, family.GetName())
			if family.GetName() == "orderflow_build_info" && !strings.Contains(family.String(), "1.2.3") {
				t.Errorf("no version in %s", family)
			}
		}
		all := strings.Join(names, " ")
		for _, want := range []string{"orderflow_build_info", "go_goroutines", "process_resident_memory_bytes"} {
			if !strings.Contains(all, want) {
				t.Errorf("%s is missing in %s", want, all)
			}
		}
	}
}
