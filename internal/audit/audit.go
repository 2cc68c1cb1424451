// Package audit judges the books: it asks the store for what it found about each invariant, and says in words and in
// JSON whether they hold. The invariants stand in docs/architecture.md; how each is checked, in store/audit.go.
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

// Source is what can be audited. Audit checks every invariant on one snapshot.
type Source interface {
	Audit(ctx context.Context) ([]order.InvariantResult, error)
}

// Report is the result of an audit.
type Report struct {
	Findings []order.InvariantResult
}

// Run audits books. It may run while orders come in.
func Run(ctx context.Context, books Source) (Report, error) {
	findings, err := books.Audit(ctx)
	return Report{findings}, err
}

// Holds reports whether every invariant holds.
func (r Report) Holds() bool {
	for _, f := range r.Findings {
		if f.ViolationCount > 0 {
			return false
		}
	}
	return true
}

// WriteText writes the report for people: a line for each invariant with its figures, the rows at fault below it, and
// the verdict.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	broken := 0
	for _, f := range r.Findings {
		verdict := "holds "
		if f.ViolationCount > 0 {
			verdict = "BROKEN"
			broken++
		}
		fmt.Fprintf(&b, "%s  %d  %s\n", verdict, f.Number, f.Name)
		figures := make([]string, len(f.Figures))
		for i, figure := range f.Figures {
			figures[i] = figure.Name + " " + thousands(figure.Value)
		}
		fmt.Fprintf(&b, "           %s\n", strings.Join(figures, " · "))
		for _, row := range f.Violations {
			fmt.Fprintf(&b, "           ✗ %s\n", row)
		}
		if hidden := f.ViolationCount - int64(len(f.Violations)); hidden > 0 {
			fmt.Fprintf(&b, "           ✗ and %s more\n", thousands(hidden))
		}
	}
	if broken == 0 {
		fmt.Fprintf(&b, "The books are right: all %d invariants hold.\n", len(r.Findings))
	} else {
		fmt.Fprintf(&b, "The books are WRONG: %d of %d invariants are broken.\n", broken, len(r.Findings))
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
		Faults  int64            `json:"faults"`
		Rows    []string         `json:"rows"`
	}
	out := struct {
		Holds      bool        `json:"holds"`
		Invariants []invariant `json:"invariants"`
	}{Holds: r.Holds()}
	for _, f := range r.Findings {
		i := invariant{f.Number, f.Name, f.ViolationCount == 0, map[string]int64{}, f.ViolationCount, append([]string{}, f.Violations...)}
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
