package metrics

import "net/http"

// Expected names the errors and rejections that rules and dashboards watch. Their
// counters begin at zero with their portal: increase cannot see the event with
// which a series appears, so a burst of first errors would count as none.
type Expected struct {
	Errors  map[Source][]string // codes, by where they arise
	Reasons []string            // of rejections
}

// failures are the outcomes that count as failed at 5xx.
var failures = []Outcome{PortalError, Rejected, Unreachable}

// expectedSeries are those that begin at zero with each portal.
func (m *Metrics) expectedSeries(e Expected) (all []series) {
	all = append(all, series{requests, string(OK), statusClass(http.StatusOK)})
	for _, outcome := range failures {
		all = append(all, series{requests, string(outcome), statusClass(http.StatusInternalServerError)})
	}
	for source, codes := range e.Errors {
		for _, code := range codes {
			all = append(all, series{errorsSeen, m.codes.label(code), string(source)})
		}
	}
	for _, reason := range e.Reasons {
		all = append(all, series{rejected, m.reasons.label(reason), ""})
	}
	all = append(all, series{desc: queueAbandoned})
	for _, result := range replayResults {
		all = append(all, series{replays, string(result), ""})
	}
	return all
}
