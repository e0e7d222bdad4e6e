package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const exemplarKey = "request_id"

// maxRequestID is what remains of OpenMetrics' 128 characters beside the key.
const maxRequestID = prometheus.ExemplarMaxRunes - len(exemplarKey)

// exemplar names the request behind an observation. The client may have chosen
// the id. One that is too long or has unusual characters gives no exemplar: it
// could be an address with the code of a webhook.
func exemplar(requestID string) prometheus.Labels {
	if requestID == "" || len(requestID) > maxRequestID {
		return nil
	}
	for _, c := range []byte(requestID) {
		if !idByte(c) {
			return nil
		}
	}
	return prometheus.Labels{exemplarKey: requestID}
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
