// Package audit reports, as text and as JSON, whether the invariants hold. docs/architecture.md lists them; store/audit.go
// contains the query for each.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"orderflow/internal/order"
)

// Source checks the invariants: Audit checks each of them on one snapshot.
type Source interface {
	Audit(ctx context.Context) ([]order.InvariantResult, error)
}

// Report is the result of an audit.
type Report struct {
	Results []order.InvariantResult
}

// Run audits a source, also while orders are placed.
func Run(ctx context.Context, source Source) (Report, error) {
	results, err := source.Audit(ctx)
	return Report{results}, err
}

// Holds reports whether every invariant holds.
func (r Report) Holds() bool {
	for _, f := range r.Results {
		if f.ViolationCount > 0 {
			return false
		}
	}
	return true
}

// WriteText writes the report for people: for each invariant its name, its figures and the violating rows, then the verdict.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	violated := 0
	for _, f := range r.Results {
		verdict := "holds"
		if f.ViolationCount > 0 {
			verdict = "VIOLATED"
			violated++
		}
		fmt.Fprintf(&b, "%-8s  %d  %s\n", verdict, f.Number, f.Name)
		figures := make([]string, len(f.Figures))
		for i, figure := range f.Figures {
			figures[i] = figure.Name + " " + thousands(figure.Value)
		}
		fmt.Fprintf(&b, "             %s\n", strings.Join(figures, " · "))
		for _, row := range f.Violations {
			fmt.Fprintf(&b, "             ✗ %s\n", row)
		}
		if hidden := f.ViolationCount - int64(len(f.Violations)); hidden > 0 {
			fmt.Fprintf(&b, "             ✗ and %s more\n", thousands(hidden))
		}
	}
	if violated == 0 {
		fmt.Fprintf(&b, "Audit passed: all %d invariants hold.\n", len(r.Results))
	} else {
		fmt.Fprintf(&b, "Audit FAILED: %d of %d invariants are violated.\n", violated, len(r.Results))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report for machines.
func (r Report) WriteJSON(w io.Writer) error {
	type invariant struct {
		Number  int              `json:"number"`
		Name    string           `json:"name"`
		Holds   bool             `json:"holds"`
		Figures map[string]int64 `json:"figures"`

		Violations int64 `json:"violations"`
		Faults     int64 `json:"faults"` // the former name

		Rows []string `json:"rows"`
	}
	out := struct {
		Holds      bool        `json:"holds"`
		Invariants []invariant `json:"invariants"`
	}{Holds: r.Holds()}
	for _, f := range r.Results {
		rows := append([]string{}, f.Violations...)
		i := invariant{f.Number, f.Name, f.ViolationCount == 0, map[string]int64{}, f.ViolationCount, f.ViolationCount, rows}
		for _, figure := range f.Figures {
			i.Figures[figure.Name] = figure.Value
		}
		out.Invariants = append(out.Invariants, i)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

// thousands is n with a comma between groups of three digits.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(text, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}
