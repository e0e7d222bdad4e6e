package metrics

import "github.com/prometheus/client_golang/prometheus"

const exemplarKey = "request_id"

// maxRequestID is what OpenMetrics' bound of 128 characters leaves beside the
// key.
const maxRequestID = prometheus.ExemplarMaxRunes - len(exemplarKey)

// exemplar names the request behind an observation. The client may have chosen
// the id, so one that is too long, or has characters that no usual id has,
// gives no exemplar: an address in it could carry a webhook's code.
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
