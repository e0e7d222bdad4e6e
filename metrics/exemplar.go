package metrics

import "github.com/prometheus/client_golang/prometheus"

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
