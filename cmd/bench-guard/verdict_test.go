package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// upTo returns 1 to n, shuffled.
func upTo(n int) []float64 {
	var values []float64
	for i := range n {
		values = append(values, float64(1+(i*7)%n)) // n is not a multiple of 7
	}
	return values
}

// The ranks were computed separately, with exact fractions: the largest k for which B(n, 1/2) is below k with at most 5 %.
func TestIntervalEndsAtTheRanksOfTheSignTest(t *testing.T) {
	for n, k := range map[int]int{5: 1, 6: 1, 8: 2, 10: 2, 11: 3, 12: 3, 13: 4, 15: 4, 20: 6, 24: 8, 26: 9, 30: 11, 36: 13, 48: 18, 60: 24} {
		low, high := interval(upTo(n))
		if low != float64(k) {
			t.Errorf("%d values: the lower end is value %g, not %d", n, low, k)
		}
		if high != float64(n+1-k) {
			t.Errorf("%d values: the upper end is value %g, not %d", n, high, n+1-k)
		}
	}
	for n := range leastPairs {
		if low, high := interval(upTo(n)); !math.IsNaN(low) || !math.IsNaN(high) {
			t.Errorf("%d values have an interval from %g to %g", n, low, high)
		}
	}
}

func times(n int, value float64) []float64 { return slices.Repeat([]float64{value}, n) }

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		ratios []float64
		want   verdict
	}{
		"equal":                             {times(12, 1), passes},
		"faster":                            {times(12, 0.5), passes},
		"just below the limit":              {times(12, 1.0299), passes},
		"at the limit":                      {times(12, 1.03), fails},
		"slower":                            {times(12, 1.05), fails},
		"two outliers at each end":          {slices.Concat(times(2, 0.1), times(8, 1), times(2, 9)), passes},
		"upper end of the interval above":   {slices.Concat(times(9, 1), times(3, 1.04)), notKnown},
		"lower end of the interval below":   {slices.Concat(times(3, 1), times(9, 1.05)), notKnown},
		"the whole interval above":          {slices.Concat(times(2, 1), times(10, 1.05)), fails},
		"more pairs make a narrow interval": {slices.Concat(times(17, 1), times(7, 1.04)), passes},
		"too few for an interval":           {times(4, 1), notKnown},
		"none":                              {nil, notKnown},
		"no processor time was read":        {times(12, math.NaN()), notKnown},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judge(c.ratios); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestEnough(t *testing.T) {
	wide := func(n int) []float64 { return slices.Concat(times(n/2, 0.9), times(n-n/2, 1.1)) }
	for name, c := range map[string]struct {
		ratios []float64
		want   bool
	}{
		"none":                            {nil, false},
		"clear, but too few":              {times(11, 1), false},
		"clear":                           {times(12, 1), true},
		"clearly slower":                  {times(12, 1.1), true},
		"too wide":                        {wide(12), false},
		"clear, but between two verdicts": {times(13, 1), false},
		"clear at the second verdict":     {times(24, 1), true},
		"too wide, one below the limit":   {wide(59), false},
		"too wide, at the limit":          {wide(60), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := enough(c.ratios, 12, 60); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
}

func TestRatiosPerOrder(t *testing.T) {
	pairs := []pair{
		{cost{10, 100, 50, 10}, cost{10, 200, 50, 10}},
		{cost{10, 100, 50, 0}, cost{20, 100, 50, 0}},
	}
	for name, c := range map[string]struct {
		part func(cost) time.Duration
		want []float64
	}{
		"all":      {cost.total, []float64{1.625, 0.5}},
		"server":   {parts()[0].of, []float64{2, 0.5}},
		"database": {parts()[1].of, []float64{1, 0.5}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ratios(pairs, c.part)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
