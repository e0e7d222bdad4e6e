package main

import "strings"

// overview shows all portals together and leads to each.
func overview() dashboard {
	d := base(overviewUID, "b24proxy / Overview",
		"Do calls get through to Bitrix24, and how near are the limits? The table at the bottom leads to each portal.")
	d.Links = []link{linkTo(portalUID, "Portal", "One portal in detail")}
	d.Templating = variables(all(labelValues("portal", "Portal", `label_values(b24proxy_requests_total{job=~"$job"}, portal)`)))
	d.lay(
		row{4, headline()},
		row{8, []panel{
			byOutcome(chosen(`sum by (outcome) (rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`)),
			lines("Availability", "percentunit",
				"Share of calls that did not fail, over 5 minutes. Failed are calls that were rejected or could not reach the portal, and system errors, each with a status of 5xx. The line is the objective.",
				query{chosen(`1 - sum(job_portal:b24proxy_requests_failed:rate5m{$chosen}) / sum(job_portal:b24proxy_requests:rate5m{$chosen})`), "availability"},
				query{`vector(0.995)`, "objective"}).
				ratio().
				with("objective", dashed(), unfilled(), colour("red")),
		}},
		row{8, []panel{
			lines("Limit errors", "reqps",
				"Calls a second that clients lost to the limit, and attempts a second that portals refused for it. Refused attempts are sent again, so clients see none of them while they can wait.",
				query{chosen(`sum(job_portal:b24proxy_limit_errors:rate5m{$chosen})`), "clients got"},
				query{chosen(`sum(rate(b24proxy_errors_total{$chosen,source="portal",code=~"QUERY_LIMIT_EXCEEDED|.*RATELIMITEXCEPTION"}[$__rate_interval])) or 0 * sum(rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`), "portals refused"}).
				with("clients got", colour("red")).
				with("portals refused", colour("orange")),
			stacked("Errors by code", "reqps",
				"Errors a second in answers of portals, inside batches, on the network and from the proxy itself, the ten most frequent codes.",
				query{chosen(`topk(10, sum by (code) (rate(b24proxy_errors_total{$chosen}[$__rate_interval])))`), "{{code}}"}),
		}},
		row{8, []panel{
			lines("Waiting calls by portal", "short",
				"Calls that wait for a slot, the ten longest queues.",
				query{chosen(`topk(10, sum by (portal) (b24proxy_queue_depth{$chosen}))`), "{{portal}}"}),
			lines("Bucket fill by portal", "percentunit",
				"Calls that the portal still counts, as a share of those it lets pass at once; the ten fullest. At 100 % calls wait for their turn: the limit is used in full, which is no error.",
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

// chosen selects the jobs and portals chosen in the variables.
func chosen(expr string) string {
	return strings.ReplaceAll(expr, "$chosen", `job=~"$job",portal=~"$portal"`)
}

func headline() []panel {
	return []panel{
		stat("Availability", "percentunit",
			"Share of calls in the time shown that did not fail. The objective is 99.5 %.",
			chosen(`1 - sum(sum_over_time(job_portal:b24proxy_requests_failed:rate5m{$chosen}[$__range])) / sum(sum_over_time(job_portal:b24proxy_requests:rate5m{$chosen}[$__range]))`),
			otherwise("red"), threshold("yellow", 0.995), threshold("green", 0.999)),
		stat("Calls", "reqps", "Calls of clients that ended, a second.",
			chosen(`sum(rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`),
			otherwise("blue")),
		stat("Limit errors", "short",
			"Calls in the time shown that clients lost to the limit, since the queue was full or the wait too long. There should be none.",
			chosen(`sum(increase(b24proxy_rejected_total{$chosen,reason=~"queue_full|queue_wait"}[$__range])) or 0 * sum(b24proxy_build_info{job=~"$job"})`),
			otherwise("green"), threshold("red", 1)).whole(),
		stat("Waiting", "short", "Calls that wait for a slot now.",
			chosen(`sum(b24proxy_queue_depth{$chosen})`),
			otherwise("blue")).whole(),
		stat("Fullest bucket", "percentunit",
			"The portal nearest to its limit: calls it still counts as a share of those it lets pass at once. At 100 % calls wait for their turn.",
			chosen(`max(b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen})`),
			otherwise("green"), threshold("yellow", 0.8), threshold("orange", 0.95)).ratio(),
		stat("Wait, 95 %", "s",
			"95 of 100 calls waited no longer than this for a slot. The target is 10 seconds.",
			chosen(`histogram_quantile(0.95, sum by (le) (rate(b24proxy_queue_wait_seconds_bucket{$chosen}[$__rate_interval])))`),
			otherwise("green"), threshold("yellow", 5), threshold("red", 10)),
	}
}

// portals is a table with a line a portal, which leads to its dashboard.
func portals() panel {
	columns := []struct {
		name, unit, expr string
	}{
		{"Calls", "reqps", `sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen})`},
		{"Failed", "percentunit", `sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen}) / sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen})`},
		{"Limit errors", "reqps", `sum by (portal) (job_portal:b24proxy_limit_errors:rate5m{$chosen})`},
		{"Waiting", "short", `sum by (portal) (b24proxy_queue_depth{$chosen})`},
		{"Bucket fill", "percentunit", `max by (portal) (b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen})`},
		{"Wait, 95 %", "s", `histogram_quantile(0.95, sum by (portal, le) (rate(b24proxy_queue_wait_seconds_bucket{$chosen}[5m])))`},
		{"Operating budget", "percentunit", `max by (portal) (b24proxy_operating_ratio{$chosen})`},
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
		"One line a portal, over the last five minutes. A click on a portal shows it in detail. A portal without a limit has no bucket.", queries)
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
