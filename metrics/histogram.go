package metrics

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A histogramID is a place in a tally.
type histogramID int

const (
	requestDuration histogramID = iota
	attemptDuration
	batchSize
	queueWait // of calls of the first priority; those of the others follow

	histograms = queueWait + histogramID(len(priorities))
)

// Native buckets grow by at most 10 %. From the zero threshold, a millisecond, to 65 s
// there are fewer than 140 of them, so usual durations never reach their bound.
const (
	nativeFactor  = 1.1
	nativeSchema  = 3 // of that factor: 2³ buckets from a number to its double
	nativeBuckets = 160
	coarsest      = -4 // schema that Prometheus knows
	zeroThreshold = 1.0 / 1024
)

// A histogram counts values in classic buckets and, beside them, in native ones. It
// holds those that are not empty, and the last exemplar of each classic one, which both
// kinds show.
type histogram struct {
	began     int64
	sum       float64
	zero      uint64 // values up to zeroThreshold, for which there is one native bucket
	halved    int8   // how often the native buckets became twice as wide
	classic   buckets
	native    buckets
	exemplars []exemplar
}

// buckets are in the order of their indexes.
type buckets []bucket

// A bucket has the index of its upper bound: that of a classic one in the list of its
// histogram, that of a native one as Prometheus counts, with 0 for the bound 1.
type bucket struct {
	index int
	n     uint64
}

func (bs *buckets) inc(index int) {
	at, found := slices.BinarySearchFunc(*bs, index, func(b bucket, index int) int { return cmp.Compare(b.index, index) })
	if !found {
		*bs = slices.Insert(*bs, at, bucket{index: index})
	}
	(*bs)[at].n++
}

// observe counts a value. A request without an id leaves no exemplar.
func (h *histogram) observe(bounds []float64, value float64, requestID string) {
	h.sum += value
	h.classic.inc(sort.SearchFloat64s(bounds, value))
	if requestID != "" {
		h.keep(bounds, newExemplar(value, requestID))
	}
	if value <= zeroThreshold {
		h.zero++
		return
	}
	h.native.inc(wider(nativeIndex(value), h.halved))
	for len(h.native) > nativeBuckets && nativeSchema-h.halved > coarsest {
		h.halve()
	}
}

// keep replaces the exemplar of the same classic bucket.
func (h *histogram) keep(bounds []float64, e exemplar) {
	bucket := sort.SearchFloat64s(bounds, e.value)
	for i, o := range h.exemplars {
		if sort.SearchFloat64s(bounds, o.value) == bucket {
			h.exemplars[i] = e
			return
		}
	}
	h.exemplars = append(h.exemplars, e)
}

// nativeBounds are the upper bounds of the native buckets from 1/2 to 1.
var nativeBounds = func() (bounds [1 << nativeSchema]float64) {
	for i := range bounds {
		bounds[i] = math.Exp2(float64(i)/(1<<nativeSchema)) / 2
	}
	return bounds
}()

func nativeIndex(value float64) int {
	fraction, exponent := math.Frexp(value)
	return sort.SearchFloat64s(nativeBounds[:], fraction) + (exponent-1)<<nativeSchema
}

// wider is the index after the buckets became twice as wide so many times.
func wider(index int, times int8) int { return (index + 1<<times - 1) >> times }

// halve makes the native buckets twice as wide, which leaves about half as many.
func (h *histogram) halve() {
	h.halved++
	fewer := h.native[:0]
	for _, b := range h.native {
		b.index = wider(b.index, 1)
		if last := len(fewer) - 1; last >= 0 && fewer[last].index == b.index {
			fewer[last].n += b.n
		} else {
			fewer = append(fewer, b)
		}
	}
	h.native = fewer
}

// metric shows the histogram under its labels.
func (h *histogram) metric(s *shape, labels ...string) prometheus.Metric {
	var count uint64
	for _, b := range h.classic {
		count += b.n
	}
	native := make(map[int]int64, len(h.native))
	for _, b := range h.native {
		native[b.index] = int64(b.n)
	}
	m := prometheus.MustNewConstNativeHistogram(s.desc, count, h.sum, native, nil, h.zero,
		nativeSchema-int32(h.halved), zeroThreshold, time.Unix(0, h.began), labels...)
	m = withClassic{m, s.bounds, slices.Clone(h.classic)}
	if len(h.exemplars) > 0 {
		m = prometheus.MustNewMetricWithExemplars(m, shown(h.exemplars)...)
	}
	return m
}

// withClassic adds classic buckets to a native histogram. A constant histogram of the
// library has only one of the two.
type withClassic struct {
	prometheus.Metric
	bounds  []float64
	buckets buckets
}

func (w withClassic) Write(out *dto.Metric) error {
	err := w.Metric.Write(out)
	var count uint64
	left := w.buckets
	for i, bound := range w.bounds {
		if len(left) > 0 && left[0].index == i {
			count += left[0].n
			left = left[1:]
		}
		out.Histogram.Bucket = append(out.Histogram.Bucket, &dto.Bucket{CumulativeCount: new(count), UpperBound: new(bound)})
	}
	return err
}
