package metrics

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const exemplarKey = "request_id"

// maxRequestID is what remains of OpenMetrics' 128 characters beside the key.
const maxRequestID = prometheus.ExemplarMaxRunes - len(exemplarKey)

// An exemplar is the request behind an observation.
type exemplar struct {
	value float64
	at    int64
	id    string
}

func newExemplar(value float64, requestID string) exemplar {
	return exemplar{value, time.Now().UnixNano(), strings.Clone(requestID)} // it may be a part of a long header
}

func shown(exemplars []exemplar) []prometheus.Exemplar {
	all := make([]prometheus.Exemplar, len(exemplars))
	for i, e := range exemplars {
		all[i] = prometheus.Exemplar{Value: e.value, Labels: prometheus.Labels{exemplarKey: e.id}, Timestamp: time.Unix(0, e.at)}
	}
	return all
}

// isExemplar reports whether an id may be shown. The client may have chosen it. One that
// is too long or has unusual characters could be an address with the code of a webhook.
func isExemplar(requestID string) bool {
	if requestID == "" || len(requestID) > maxRequestID {
		return false
	}
	for _, c := range []byte(requestID) {
		if !idByte(c) {
			return false
		}
	}
	return true
}

func idByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '-', c == '_', c == '.', c == ':', c == '=', c == '+':
		return true
	}
	return false
}

// An exemplar costs more than the rest of an observation, and only the last one of a
// bucket is scraped. So of many quick calls at once not all leave one.
const (
	slow       = time.Second // these always do
	sampleTime = 100 * time.Millisecond
	sampleSize = 60 // of the observations within that time
)

// A sampler chooses the first observations of each sampleTime. If two goroutines begin
// a new one, it may choose some more.
type sampler struct{ current, chosen atomic.Int64 }

func (s *sampler) next(now time.Time) bool {
	if of := now.UnixNano() / int64(sampleTime); s.current.Swap(of) != of {
		s.chosen.Store(0)
	}
	return s.chosen.Add(1) <= sampleSize
}
