package main

import (
	"strings"

	"b24proxy/metrics"
)

// overview describes the dashboard of all portals, which leads to each.
func overview() dashboard {
	d := base(overviewUID, "b24proxy / Overview",
		"Do calls reach Bitrix24, and how much of the limits is used? The table at the bottom leads to each portal.")
	d.Links = []link{linkTo(portalUID, "Portal", "One portal in detail")}
	d.Templating = variables(all(labelValues("portal", "Portal", `label_values(b24proxy_requests_total{job=~"$job"}, portal)`)))
	d.lay(
		row{4, headline()},
		row{8, []panel{
			byOutcome(chosen(`sum by (outcome) (rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`)),
			lines("Availability", "percentunit",
				"Share of calls that did not fail, over 5 minutes. A call failed if it was rejected, did not reach the portal or got a system error, each with a status of 5xx. The dashed line is the objective.",
				query{chosen(`1 - sum(job_portal:b24proxy_requests_failed:rate5m{$chosen}) / sum(job_portal:b24proxy_requests:rate5m{$chosen})`), "availability"},
				query{`vector(0.995)`, "objective"}).
				ratio().
				with("objective", dashed(), unfilled(), colour("red")),
		}},
		row{8, []panel{
			lines("Limit errors", "reqps",
				"Calls per second that clients lost because of the limit, and attempts per second that portals refused because of it. The proxy sends refused attempts again, so clients notice them only when they cannot wait.",
				query{chosen(`sum(job_portal:b24proxy_limit_errors:rate5m{$chosen})`), "clients got"},
				query{chosen(`sum(rate(b24proxy_errors_total{$chosen,source="` + string(metrics.FromPortal) + `",code=~"QUERY_LIMIT_EXCEEDED|.*RATELIMITEXCEPTION"}[$__rate_interval])) or 0 * sum(rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`), "portals refused"}).
				with("clients got", colour("red")).
				with("portals refused", colour("orange")),
			stacked("Errors by code", "reqps",
				"Errors per second in answers of portals, inside batches, on the network and from the proxy itself; the ten most frequent codes.",
				query{chosen(`topk(10, sum by (code) (rate(b24proxy_errors_total{$chosen}[$__rate_interval])))`), "{{code}}"}),
		}},
		row{8, []panel{
			lines("Waiting calls by portal", "short",
				"Calls that wait for a slot; the ten longest queues.",
				query{chosen(`topk(10, sum by (portal) (b24proxy_queue_depth{$chosen}))`), "{{portal}}"}),
			lines("Limit used by portal", "percentunit",
				"Calls that the portal still counts, as a share of its burst; the ten highest. A little below 100 % calls begin to wait (the proxy keeps a margin): the limit is used up, which is not an error.",
				query{chosen(`topk(10, max by (portal) (b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen}))`), "{{portal}}"}),
		}},
		row{8, []panel{
			quantiles("Wait for a slot", "How long calls waited in the proxy before they were sent.",
				chosen(`b24proxy_queue_wait_seconds_bucket{$chosen}`)),
			quantiles("Portal time", "How long portals took to answer, without the wait in the proxy.",
				chosen(`b24proxy_portal_request_duration_seconds_bucket{$chosen}`)),
		}},
		row{10, []panel{portals()}},
	)
	return d
}

// chosen selects the jobs and portals that the reader chose.
func chosen(expr string) string {
	return strings.ReplaceAll(expr, "$chosen", `job=~"$job",portal=~"$portal"`)
}

func headline() []panel {
	return []panel{
		stat("Availability", "percentunit",
			"Share of calls that did not fail, in the time range shown. The objective is 99.5 %.",
			chosen(`1 - sum(sum_over_time(job_portal:b24proxy_requests_failed:rate5m{$chosen}[$__range])) / sum(sum_over_time(job_portal:b24proxy_requests:rate5m{$chosen}[$__range]))`),
			otherwise("red"), threshold("yellow", 0.995), threshold("green", 0.999)),
		stat("Calls", "reqps", "Calls of clients that ended, per second.",
			chosen(`sum(rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`),
			otherwise("blue")),
		stat("Limit errors", "short",
			"Calls that clients lost because the queue was full or the wait too long, in the time range shown. There should be none.",
			chosen(`sum(increase(b24proxy_rejected_total{$chosen,reason=~"queue_full|queue_wait"}[$__range])) or 0 * sum(b24proxy_build_info{job=~"$job"})`),
			otherwise("green"), threshold("red", 1)).whole(),
		stat("Waiting", "short", "Calls that wait for a slot now.",
			chosen(`sum(b24proxy_queue_depth{$chosen})`),
			otherwise("blue")).whole(),
		stat("Limit used, highest", "percentunit",
			"The portal nearest to its limit: calls that it still counts, as a share of its burst. A little below 100 % calls begin to wait.",
			chosen(`max(b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen})`),
			otherwise("green"), threshold("yellow", 0.8), threshold("orange", 0.95)).ratio(),
		stat("Wait, 95 %", "s",
			"95 of 100 calls waited at most this long for a slot. The target is 10 seconds.",
			chosen(`histogram_quantile(0.95, sum by (le) (rate(b24proxy_queue_wait_seconds_bucket{$chosen}[$__rate_interval])))`),
			otherwise("green"), threshold("yellow", 5), threshold("red", 10)),
	}
}

// portals is a table with one line per portal, which leads to its dashboard.
func portals() panel {
	columns := []struct {
		name, unit, expr string
	}{
		{"Calls", "reqps", `sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen})`},
		{"Failed", "percentunit", `sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen}) / sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen})`},
		{"Limit errors", "reqps", `sum by (portal) (job_portal:b24proxy_limit_errors:rate5m{$chosen})`},
		{"Waiting", "short", `sum by (portal) (b24proxy_queue_depth{$chosen})`},
		{"Limit used", "percentunit", `max by (portal) (b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen})`},
		{"Wait, 95 %", "s", `histogram_quantile(0.95, sum by (portal, le) (rate(b24proxy_queue_wait_seconds_bucket{$chosen}[5m])))`},
		{"Operating time", "percentunit", `max by (portal) (b24proxy_operating_ratio{$chosen})`},
	}
	names := map[string]any{"portal": "Portal"}
	order := map[string]any{"portal": 0}
	var queries []query
	for i, c := range columns {
		queries = append(queries, query{chosen(c.expr), ""})
		value := "Value #" + string(rune('A'+i))
		names[value], order[value] = c.name, i+1
	}
	p := newPanel("table", "Portals", "short",
		"One line per portal, over the last five minutes. Click on a portal to see it in detail. A portal without a limit has no bucket.", queries)
	for i := range p.Targets {
		p.Targets[i].Format, p.Targets[i].Instant, p.Targets[i].Range = "table", true, false
	}
	p.Options = map[string]any{
		"showHeader": true,
		"cellHeight": "sm",
		"sortBy":     []any{map[string]any{"displayName": "Calls", "desc": true}},
	}
	p.Transformations = []transformation{
		{ID: "merge", Options: map[string]any{}},
		{ID: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true},
			"indexByName":   order,
			"renameByName":  names,
		}},
	}
	p = p.with("Portal", property{"links", []any{map[string]any{
		"title": "Show ${__value.text}",
		"url":   "/d/" + portalUID + "?var-portal=${__value.text}&${datasource:queryparam}&${job:queryparam}&${__url_time_range}",
	}}})
	for _, c := range columns {
		p = p.with(c.name, property{"unit", c.unit})
	}
	return p
}
