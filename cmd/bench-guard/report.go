package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"orderflow/internal/bench"
)

// outcome is a load with the pairs that were measured.
type outcome struct {
	load  load
	pairs []pair
}

// worst returns the worst verdict of all loads. A failure is worse than "not known".
func worst(done []outcome) verdict {
	all := passes
	for _, o := range done {
		switch judge(ratios(o.pairs, cost.total)) {
		case fails:
			return fails
		case notKnown:
			all = notKnown
		case passes:
		}
	}
	return all
}

// report prints the table: for each load a row of the sum, with the verdict, and a row of each part, without.
func report(out io.Writer, done []outcome) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "load\tprocessor time of\tbase, µs per order\tthis build\tloss\t90 % interval\tpairs\tverdict\t")
	for _, o := range done {
		total := ratios(o.pairs, cost.total)
		_, _ = fmt.Fprintf(table, "%s\tall\t%s\t%d\t%s\t\n", o.load.name, figures(o.pairs, cost.total), len(total), judge(total))
		if !o.load.shared {
			continue
		}
		for _, part := range parts() {
			_, _ = fmt.Fprintf(table, "\t%s\t%s\t\t\t\n", part.name, figures(o.pairs, part.of))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s: %s\n", worst(done), meaning(worst(done)))
	return err
}

func meaning(v verdict) string {
	switch v {
	case passes:
		return fmt.Sprintf("the interval of every load is below a loss of %.0f %%.", 100*(limit-1))
	case fails:
		return fmt.Sprintf("the interval of at least one load is at a loss of %.0f %% or above.", 100*(limit-1))
	case notKnown:
	}
	return "the interval of at least one load is too wide, which is not a pass. Run it again on an idle machine."
}

// parts are the processes in a cost of a load over MariaDB and Redis.
func parts() []struct {
	name string
	of   func(cost) time.Duration
} {
	return []struct {
		name string
		of   func(cost) time.Duration
	}{
		{"server", func(c cost) time.Duration { return c.server }},
		{"database", func(c cost) time.Duration { return c.database }},
		{"Redis", func(c cost) time.Duration { return c.redis }},
	}
}

// figures are the medians of both builds, the loss and its interval, as cells.
func figures(pairs []pair, part func(cost) time.Duration) string {
	var base, work []float64
	for _, p := range pairs {
		base, work = append(base, each(p.base, part)), append(work, each(p.work, part))
	}
	of := ratios(pairs, part)
	low, high := interval(of)
	cells := []string{
		fmt.Sprintf("%.1f", bench.Median(base)), fmt.Sprintf("%.1f", bench.Median(work)), percent(bench.Median(of)),
		percent(low) + " to " + percent(high),
	}
	return strings.Join(cells, "\t")
}

// percent prints a ratio as a loss, such as +1.5 % for 1.015.
func percent(ratio float64) string {
	if math.IsNaN(ratio) || math.IsInf(ratio, 0) {
		return "–"
	}
	return fmt.Sprintf("%+.1f %%", 100*(ratio-1))
}
