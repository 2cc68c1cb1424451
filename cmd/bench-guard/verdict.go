package main

import (
	"math"
	"slices"
	"time"
)

// limit is the ratio of processor time per order from which a build counts as slower.
const limit = 1.03

// confidence of the intervals.
const confidence = 0.90

// leastPairs is the least number of pairs with an interval: from the smallest to the largest of five, with 94 %.
const leastPairs = 5

// cost is the processor time that a build used in a pair.
type cost struct {
	orders                  int64
	server, database, redis time.Duration
}

func (c cost) plus(other cost) cost {
	return cost{c.orders + other.orders, c.server + other.server, c.database + other.database, c.redis + other.redis}
}

func (c cost) total() time.Duration { return c.server + c.database + c.redis }

// pair is the cost of the same orders on both builds, measured side by side.
type pair struct{ base, work cost }

// ratios returns for each pair the processor time per order of the compared build ÷ that of the base, for one part of the costs.
func ratios(pairs []pair, part func(cost) time.Duration) []float64 {
	all := make([]float64, len(pairs))
	for i, p := range pairs {
		all[i] = each(p.work, part) / each(p.base, part)
	}
	return all
}

// each is the processor time per order in µs.
func each(c cost, part func(cost) time.Duration) float64 {
	return float64(part(c).Nanoseconds()) / 1e3 / float64(c.orders)
}

// interval returns a confidence interval of the median: the k-th smallest and the k-th largest of the values. It is exact
// whatever the distribution of the values is, and has no random draws (H. A. David, H. N. Nagaraja, Order Statistics,
// 3rd edition, section 7.1). The median is below the k-th smallest of n values when fewer than k of them are below the
// median, which is the lower tail of the binomial distribution B(n, 1/2); the other end is symmetric. k is the largest
// for which both tails together are at most 1 - confidence. Both ends are NaN for fewer values than leastPairs. Since k is
// a whole number, 13 values do much better than 12: the 4th to the 10th cover 90.8 %, the 3rd to the 10th of 12 cover 96.1 %.
func interval(values []float64) (low, high float64) {
	n := len(values)
	sorted := slices.Sorted(slices.Values(values))
	k, tail, term := 0, 0.0, math.Pow(0.5, float64(n)) // term: the probability of exactly k values below the median
	for {
		tail += term
		if 2*tail > 1-confidence {
			break
		}
		term *= float64(n-k) / float64(k+1)
		k++
	}
	if k == 0 {
		return math.NaN(), math.NaN()
	}
	return sorted[k-1], sorted[n-k]
}

// verdict is the result of the comparison for a load.
type verdict string

const (
	passes   verdict = "passes"
	fails    verdict = "fails"
	notKnown verdict = "not known"
)

// judge returns passes when the whole interval is below the limit, fails when it is at the limit or above, else notKnown.
func judge(ratios []float64) verdict {
	switch low, high := interval(ratios); {
	case high < limit:
		return passes
	case low >= limit:
		return fails
	default:
		return notKnown
	}
}

// enough reports whether a load needs no more pairs. The verdict is computed only after each multiple of pairs, since each computation
// is one more chance of a wrong verdict.
func enough(ratios []float64, pairs, most int) bool {
	n := len(ratios)
	return n >= most || n >= pairs && n%pairs == 0 && judge(ratios) != notKnown
}
