package proxy

import (
	"net/http"
	"slices"

	"b24proxy/limiter"
	"b24proxy/metrics"
	"b24proxy/proxy/bitrix24"
)

// expectedErrors are the errors whose counters begin at zero with their portal:
// those of 5xx, which count as failures, and those of the operating time.
func expectedErrors() metrics.Expected {
	all := metrics.Expected{Errors: make(map[metrics.Source][]string)}
	add := func(source metrics.Source, status int, code bitrix24.Code) {
		isWatched := status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
		if isWatched && !slices.Contains(all.Errors[source], string(code)) {
			all.Errors[source] = append(all.Errors[source], string(code))
		}
	}
	for _, known := range bitrix24.SystemErrors() {
		add(metrics.FromPortal, known.Status, known.Code)
	}
	for _, row := range errorTable {
		if row.code != codeConnectNotEnabled && row.code != codeRequestNotRead { // such a request names no portal
			add(row.source, row.status, row.code)
		}
	}
	for _, reason := range []limiter.Reason{limiter.QueueFull, limiter.QueueWait, limiter.Overload, limiter.OperatingTime, limiter.Draining} {
		all.Reasons = append(all.Reasons, string(reason))
	}
	return all
}
