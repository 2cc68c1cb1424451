package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"orderflow/internal/audit"
	"orderflow/internal/order"
)

type source struct {
	results []order.InvariantResult
	err     error
}

func (s source) Audit(context.Context) ([]order.InvariantResult, error) { return s.results, s.err }

func TestReport(t *testing.T) {
	right := order.InvariantResult{Number: 1, Name: "stock adds up", Figures: []order.Figure{{Name: "products", Value: 1234567}, {Name: "short", Value: -1000}}}
	wrong := order.InvariantResult{Number: 2, Name: "no stock below zero", Violations: []string{"product 5: stock -1"}, ViolationCount: 3}
	for name, c := range map[string]struct {
		results []order.InvariantResult
		holds   bool
		text    []string
	}{
		"right": {[]order.InvariantResult{right}, true, []string{"holds     1  stock adds up", "products 1,234,567 · short -1,000", "Audit passed: all 1 invariants hold."}},
		"wrong": {[]order.InvariantResult{right, wrong}, false, []string{"VIOLATED  2", "✗ product 5: stock -1", "✗ and 2 more", "Audit FAILED: 1 of 2 invariants are violated."}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := audit.Run(t.Context(), source{results: c.results})
			if err != nil || report.Holds() != c.holds {
				t.Fatalf("holds %v, %v", report.Holds(), err)
			}
			var text, machine strings.Builder
			if err := errors.Join(report.WriteText(&text), report.WriteJSON(&machine)); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.text {
				if !strings.Contains(text.String(), want) {
					t.Errorf("%q is not in\n%s", want, text.String())
				}
			}
			var read struct {
				Holds      bool
				Invariants []struct {
					Holds              bool
					Violations, Faults int64
					Rows               []string
				}
			}
			if err := json.Unmarshal([]byte(machine.String()), &read); err != nil || read.Holds != c.holds || len(read.Invariants) != len(c.results) {
				t.Errorf("JSON: %v %+v", err, read)
			}
			for i, f := range c.results {
				if got := read.Invariants[i]; got.Violations != f.ViolationCount || got.Faults != f.ViolationCount || len(got.Rows) != len(f.Violations) || got.Rows == nil {
					t.Errorf("JSON of invariant %d: %+v", f.Number, got)
				}
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	if _, err := audit.Run(t.Context(), source{err: errors.New("gone")}); err == nil {
		t.Error("no error")
	}
}
