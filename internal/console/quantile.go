package console

import (
	"math"

	dto "github.com/prometheus/client_model/go"
)

// bucket is how many observations a histogram counted up to and including a bound.
type bucket struct {
	upper float64 // +Inf for the last one
	count uint64  // cumulative
}

// histogram is what a histogram had counted at some time; series of one metric are added up.
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

// since is what was observed after an earlier time. A histogram that counts less than it did is another one, of a process that
// has begun anew, and all of it is new.
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

// mean is the average of what was observed; NaN when nothing was.
func (h histogram) mean() float64 {
	if h.count == 0 {
		return math.NaN()
	}
	return h.sum / float64(h.count)
}

// quantile estimates the value that the share q of observations does not exceed, 0 < q <= 1: it takes those within a bucket to
// lie evenly. What lies above the highest bound is taken to be that bound. It is NaN when nothing was observed.
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
