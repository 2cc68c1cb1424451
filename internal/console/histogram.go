package console

import (
	"math"

	dto "github.com/prometheus/client_model/go"
)

// bucket counts the observations up to and including a bound.
type bucket struct {
	upper float64 // +Inf for the last one
	count uint64  // cumulative
}

// histogram is the state of a metric at one time, summed over its series.
type histogram struct {
	buckets []bucket // ascending
	count   uint64
	sum     float64
}

// add adds a series to the histogram. Series of one metric have the same bounds.
func (h *histogram) add(m *dto.Histogram) {
	h.count += m.GetSampleCount()
	h.sum += m.GetSampleSum()
	for i, b := range m.GetBucket() {
		if i == len(h.buckets) {
			h.buckets = append(h.buckets, bucket{upper: b.GetUpperBound()})
		}
		h.buckets[i].count += b.GetCumulativeCount()
	}
}

// since returns the observations after an earlier state. A lower count means that the process has restarted: then all are new.
func (h histogram) since(earlier histogram) histogram {
	if h.count < earlier.count || len(h.buckets) < len(earlier.buckets) {
		return h
	}
	d := histogram{count: h.count - earlier.count, sum: h.sum - earlier.sum, buckets: make([]bucket, len(h.buckets))}
	for i, b := range h.buckets {
		if i < len(earlier.buckets) {
			b.count -= min(earlier.buckets[i].count, b.count)
		}
		d.buckets[i] = b
	}
	return d
}

// mean returns the average, NaN without observations.
func (h histogram) mean() float64 {
	if h.count == 0 {
		return math.NaN()
	}
	return h.sum / float64(h.count)
}

// quantile estimates the value that the share q of the observations does not exceed, 0 < q <= 1. It interpolates linearly within
// a bucket, and takes values above the highest bound as that bound. It returns NaN without observations.
func (h histogram) quantile(q float64) float64 {
	if h.count == 0 {
		return math.NaN()
	}
	rank, lower, below := q*float64(h.count), 0.0, uint64(0)
	for _, b := range h.buckets {
		if math.IsInf(b.upper, 1) {
			break
		}
		if float64(b.count) >= rank && b.count > below {
			return lower + (b.upper-lower)*(rank-float64(below))/float64(b.count-below)
		}
		lower, below = b.upper, b.count
	}
	return lower
}
