package main

import (
	"strings"

	"b24proxy/metrics"
)

// overview describes the dashboard of all portals, which leads to each. Without
// scrolling it says which portals are hurt, by which codes, and since when.
func overview() dashboard {
	d := base(overviewUID, "b24proxy / Overview",
		"Do calls reach Bitrix24, and how much of the limits is used? The lines of the table lead to the portals.")
	d.Links = []link{linkTo(portalUID, "Portal", "One portal in detail")}
	portal := all(labelValues("portal", "Portal", `label_values(b24proxy_requests_total{job=~"$job"}, portal)`))
	portal.AllValue = ".+" // there may be a thousand
	d.Templating = variables(portal)
	d.Annotations = marks()
	d.lay(
		row{4, headline()},
		row{8, []panel{portals().wide(15), alertList()}},
		row{11, []panel{failuresByCode(allChosen), failuresByPortal()}},
		heading("Calls and errors"),
		row{9, []panel{byOutcome(allChosen), failedShare(allChosen)}},
		row{9, []panel{otherErrorsByCode(allChosen), limitErrors()}},
		heading("Limits"),
		row{9, byPortal()},
		heading("Waits"),
		row{9, []panel{
			quantiles("Wait for a slot", "How long calls waited in the proxy before they were sent; calls of low priority do not count, as for the alert.",
				chosen(`b24proxy_queue_wait_seconds_bucket{$chosen,priority!="low"}`)),
			quantiles("Portal time", "How long portals took to answer, without the wait in the proxy.",
				chosen(`b24proxy_portal_request_duration_seconds_bucket{$chosen}`)),
		}},
		heading("Clients"),
		row{9, byClient()},
		heading("Shared store (B24PROXY_REDIS_URL)"),
		row{9, store()},
		heading("Proxies"),
		row{6, []panel{instances()}},
		row{8, processes()},
	)
	return d
}

// allChosen selects the jobs and portals that the reader chose.
const allChosen = `job=~"$job",portal=~"$portal"`

func chosen(expr string) string { return strings.ReplaceAll(expr, "$chosen", allChosen) }

func headline() []panel {
	return []panel{
		upTile().wide(3),
		availabilityTile(allChosen).wide(3),
		budgetTile().wide(3),
		failedTile(allChosen).wide(2),
		stat("Calls", "reqps", "Calls of clients that ended, per second.",
			number(chosen(`sum(rate(b24proxy_requests_total{$chosen}[$__rate_interval]))`)),
			otherwise("blue")).wide(2),
		stat("Limit errors (range)", "locale",
			"Calls that clients lost in the time shown because the queue was full or the wait too long. There should be none.",
			number(chosen(`round(sum(increase(b24proxy_rejected_total{$chosen,reason=~"queue_full|queue_wait"}[$__range]))) or 0 * sum(up{job=~"$job"})`)),
			otherwise("green"), threshold("red", 1)).whole().wide(3),
		stat("Waiting", "locale", "Calls that wait for a slot now.",
			number(chosen(`sum(b24proxy_queue_depth{$chosen})`)),
			otherwise("blue")).whole().wide(2),
		stat("Limit used, highest", "percentunit",
			"The portal nearest to its limit: calls that it still counts, as a share of its burst. A little below 100 % calls begin to wait: the limit is used up, which is not an error.",
			[]query{{chosen(`topk(1, max by (portal) (b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen}))`), "{{portal}}"}},
			otherwise("blue")).ratio().named().whole().wide(3),
		stat("Longest wait, 95 %", "s",
			"The portal whose calls wait longest: 95 of 100 waited at most this long for a slot. Calls of low priority do not count, as for the alert. The target is 10 seconds.",
			[]query{{chosen(`topk(1, histogram_quantile(0.95, sum by (portal, le) (rate(b24proxy_queue_wait_seconds_bucket{$chosen,priority!="low"}[$__rate_interval]))) >= 0)`), "{{portal}}"}},
			otherwise("green"), threshold("yellow", 5), threshold("red", 10)).named().empty("no calls").wide(3),
	}
}

// budgetTile says what the objective still allows.
func budgetTile() panel {
	p := stat("Error budget left (30 days)", "percentunit",
		"What remains of the failed calls that the objective allows: 100 % after 30 days without one, below 0 % where more failed. It counts all portals of the job.",
		number(`1 - sum(sum_over_time(job:b24proxy_requests_failed:rate5m{job=~"$job"}[30d])) / (sum(sum_over_time(job:b24proxy_requests:rate5m{job=~"$job"}[30d])) > 0) / `+errorBudget),
		otherwise("red"), threshold("yellow", 0), threshold("green", 0.5)).empty("no calls")
	p.FieldConfig.Defaults.Decimals = new(0)
	return p
}

// portals is a table with one line per portal, which leads to its dashboard. Those
// that cannot be used come first, then those whose calls fail most.
func portals() panel {
	code := column{name: "Share of code", unit: "reqps", expr: chosen(`topk by (portal) (1, sum by (portal, code) (sum_over_time(job_portal_code:b24proxy_failures:rate1m{$chosen}[5m])))`)}
	columns := []column{
		{"State", "none", `(2 * max by (portal) (b24proxy_breaker_open{$chosen}) > 0)
or 1 + 0 * (sum by (portal) (rate(b24proxy_requests_total{$chosen,outcome="unreachable"}[5m])) / sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen}) > 0.5)
or 0 * max by (portal) (b24proxy_breaker_open{$chosen})`,
			append(cells("color-background"), property{"custom.width", 105}, words([2]string{"usable", "transparent"}, [2]string{"unreachable", "purple"}, [2]string{"blocked", "dark-red"}))},
		{"Failed", "locale", `300 * sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen})`,
			append(cells("color-background", otherwise("transparent"), threshold("red", 0.5)), property{"decimals", 0}, property{"custom.width", 62})},
		{"Since", "dateTimeAsIsoNoDateIfToday", `1000 * (
  30 + max by (portal) (max_over_time(timestamp(sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen}) == 0)[$__range:30s]))
  or min by (portal) (min_over_time(timestamp(sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen}))[$__range:30s]))
) and on (portal) sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen}) > 0`, nil},
		{"Share", "percentunit", `sum by (portal) (job_portal:b24proxy_requests_failed:rate5m{$chosen}) / (sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen}) > 0)`,
			append(cells("color-text", otherwise("text"), threshold("yellow", 0.005), threshold("red", 0.072)), property{"decimals", 1}, property{"custom.width", 67})},
		{"Calls/s", "none", `sum by (portal) (job_portal:b24proxy_requests:rate5m{$chosen})`, []property{{"decimals", 1}, {"custom.width", 62}}},
		{"Waiting", "locale", `sum by (portal) (b24proxy_queue_depth{$chosen})`, nil},
		{"Wait 95 %", "s", `histogram_quantile(0.95, sum by (portal, le) (rate(b24proxy_queue_wait_seconds_bucket{$chosen,priority!="low"}[5m]))) >= 0`,
			cells("color-text", otherwise("text"), threshold("yellow", 5), threshold("red", 10))},
		{"Limit used", "percentunit", `max by (portal) (b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen})`,
			[]property{{"decimals", 0}}},
		{"Rate", "percentunit", `min by (portal) (b24proxy_bucket_rate{$chosen} / b24proxy_bucket_plan_rate{$chosen})`,
			append(cells("color-text", otherwise("orange"), threshold("text", 0.995)), property{"decimals", 0}, property{"custom.width", 62})},
		{"Operating", "percentunit", `max by (portal) (b24proxy_operating_ratio{$chosen})`,
			append(cells("color-text", otherwise("text"), threshold("yellow", 0.7), threshold("red", 0.9)), property{"decimals", 0})},
	}
	for i := range columns {
		columns[i].expr = chosen(columns[i].expr)
	}
	return table("Portals (last 5 minutes)",
		"One line per portal: the code with which most calls failed, whether the portal can be used at all, how many calls failed and since when (to half a minute, within the time shown), and the limit. Rate is the rate in force as a share of the plan's; below 100 % another program uses the same limit, or the shared store is away. A portal without a limit has no bucket. Click on a portal to see it in detail.",
		[][2]string{{"portal", "Portal"}, {"code", "Code"}}, append(columns, code)).
		hide("Value #"+string(rune('A'+len(columns)))).
		sorted("-State", "-Failed", "-Calls/s").
		with("Portal", property{"links", toPortal("${__value.raw}")}, property{"custom.width", 165}).
		with("Code", cells("color-text")[0], codeMappings(failureCodes()), property{"custom.width", 230}).
		empty("no call in the last 5 minutes")
}

// failuresByPortal says who is hurt, by what and since when.
func failuresByPortal() panel {
	p := stacked("Failures by portal and code, per second", "none",
		"Calls per second that failed for their callers, by portal and by the code that they got. Click on a series to see its portal.",
		query{failing("portal, code", allChosen), "{{portal}} {{code}}"}).
		colouredByCode(failureCodes()).beside().empty("no call failed in this time")
	p.FieldConfig.Defaults.Links = toPortal("${__field.labels.portal}")
	return p
}

func limitErrors() panel {
	return lines("Limit errors", "reqps",
		"Calls per second that clients lost because of the limit, and attempts per second that portals refused because of it. The proxy sends refused attempts again, so clients notice them only when they cannot wait.",
		query{chosen(`sum(rate(b24proxy_rejected_total{$chosen,reason=~"queue_full|queue_wait"}[$__rate_interval]))`), "clients got"},
		query{chosen(`sum(rate(b24proxy_errors_total{$chosen,source="` + string(metrics.FromPortal) + `",code=~"QUERY_LIMIT_EXCEEDED|.*RATELIMITEXCEPTION"}[$__rate_interval]))`), "portals refused"}).
		with("clients got", colour("orange")).
		with("portals refused", colour("light-orange")).
		beside()
}

func byPortal() []panel {
	p := []panel{
		lines("Waiting calls by portal", "short",
			"Calls that wait for a slot; the ten longest queues.",
			query{chosen(`topk(10, sum by (portal) (b24proxy_queue_depth{$chosen}))`), "{{portal}}"}),
		lines("Limit used by portal", "percentunit",
			"Calls that the portal still counts, as a share of its burst; the ten highest. A little below 100 % calls begin to wait (the proxy keeps a margin): the limit is used up, which is not an error.",
			query{chosen(`topk(10, max by (portal) (b24proxy_bucket_level{$chosen} / b24proxy_bucket_burst{$chosen}))`), "{{portal}}"}).ratio(),
		lines("Rate in force by portal", "percentunit",
			"Calls per second that the proxy sends at most, as a share of what the plan allows; the ten lowest. It is lower while another program uses the same limit or the shared store is away.",
			query{chosen(`bottomk(10, min by (portal) (b24proxy_bucket_rate{$chosen} / b24proxy_bucket_plan_rate{$chosen}))`), "{{portal}}"}).ratio(),
	}
	for i := range p {
		p[i] = p[i].beside()
		p[i].FieldConfig.Defaults.Links = toPortal("${__field.labels.portal}")
		p[i].FieldConfig.Defaults.Custom["fillOpacity"] = 0
		p[i].Options["legend"].(map[string]any)["calcs"] = []string{"lastNotNull", "max"}
	}
	lowest := p[2].Options["legend"].(map[string]any)
	lowest["calcs"], lowest["sortBy"], lowest["sortDesc"] = []string{"lastNotNull", "min"}, "Min", false
	return p
}

// byClient says who calls, and whose calls do not succeed. The metric has no label for
// the portal.
func byClient() []panel {
	const noKeys = "no client has a key (B24PROXY_CLIENT_KEYS)"
	return []panel{
		stacked("Calls by client", "reqps",
			"Calls per second of each client that has a key, to all portals; the ten with most. The live page lists all clients of a portal, with and without keys.",
			query{`topk(10, sum by (client) (rate(b24proxy_client_requests_total{job=~"$job"}[$__rate_interval])))`, "{{client}}"}).
			beside().empty(noKeys),
		lines("Errors by client and outcome", "reqps",
			"Calls per second of each client that did not succeed, by how they ended; the ten with most. For what an outcome means see Calls by outcome.",
			query{`topk(10, sum by (client, outcome) (rate(b24proxy_client_requests_total{job=~"$job",outcome!="` + string(metrics.OK) + `"}[$__rate_interval])))`, "{{client}} {{outcome}}"}).
			beside().empty(noKeys),
	}
}

// store shows the store that replicas share, if there is one.
func store() []panel {
	const none = "no proxy shares a store"
	took := quantiles("Time of the store",
		"How long requests to the store took. One that takes more than 50 ms is given up, and the call waits a little longer.",
		`b24proxy_store_request_duration_seconds_bucket{job=~"$job"}`).empty(none)
	took.FieldConfig.Defaults.Custom["axisSoftMax"] = 0.05
	return []panel{
		lines("Store reachable", "none",
			"1 while a replica reaches the store, 0 while it goes on alone with its share of the limits. No call fails for that.",
			query{`b24proxy_store_up{job=~"$job"}`, "{{instance}}"}).ratio().empty(none),
		took,
		lines("Requests to the store", "reqps",
			"Requests to the store per second, about one for each call, three more for each write and four for each replica, and those that failed or took too long.",
			query{`sum(rate(b24proxy_store_request_duration_seconds_count{job=~"$job"}[$__rate_interval]))`, "requests"},
			query{`sum(rate(b24proxy_store_errors_total{job=~"$job"}[$__rate_interval]))`, "failed"}).
			with("requests", colour("blue")).
			with("failed", colour("red")).
			empty(none),
	}
}

// instances is a table with one line per proxy.
func instances() panel {
	proxies := `{job=~"$job"}`
	return table("Instances", "The proxies that Prometheus scrapes, what they run and what they use.",
		[][2]string{{"instance", "Instance"}, {"version", "Version"}, {"revision", "Revision"}, {"goversion", "Go"}},
		[]column{
			{"State", "none", `sum by (instance) (up` + proxies + `)`, append(cells("color-background"), words([2]string{"down", "red"}, [2]string{"up", "green"}))},
			{"Store", "none", `max by (instance) (b24proxy_store_up` + proxies + `)`, append(cells("color-text"), words([2]string{"away", "red"}, [2]string{"up", "green"}))},
			{"Running for", "dtdurations", `max by (instance) (time() - process_start_time_seconds` + proxies + `)`, nil},
			{"CPU", "percentunit", `sum by (instance) (rate(process_cpu_seconds_total` + proxies + `[$__rate_interval]))`, nil},
			{"Memory", "bytes", `sum by (instance) (process_resident_memory_bytes` + proxies + `)`, nil},
			{"Goroutines", "locale", `sum by (instance) (go_goroutines` + proxies + `)`, nil},
			{"Bodies in memory", "bytes", `sum by (instance) (b24proxy_memory_bytes` + proxies + `)`, nil},
			{"Bodies on disk", "bytes", `sum by (instance) (b24proxy_spool_bytes` + proxies + `)`, nil},
			{"Build", "none", `max by (instance, version, revision, goversion) (b24proxy_build_info` + proxies + `)`, nil},
		}).hide("Value #I").empty("Prometheus scrapes no proxy")
}

// processes shows what the proxies use over time.
func processes() []panel {
	each := func(title, unit, description, expr string) panel {
		return lines(title, unit, description, query{expr, "{{instance}}"})
	}
	return []panel{
		each("CPU", "percentunit", "Share of one processor that each proxy uses.", `rate(process_cpu_seconds_total{job=~"$job"}[$__rate_interval])`),
		each("Memory", "bytes", "Memory that each proxy uses, held bodies included.", `process_resident_memory_bytes{job=~"$job"}`),
		each("Goroutines", "short", "Goroutines of each proxy; a waiting call has a few.", `go_goroutines{job=~"$job"}`),
		lines("Request bodies held", "bytes", "Bytes of request bodies and headers that wait in memory and on disk.",
			query{`sum(b24proxy_memory_bytes{job=~"$job"})`, "memory"},
			query{`sum(b24proxy_spool_bytes{job=~"$job"})`, "disk"}),
	}
}
