package main

import (
	"strings"

	"b24proxy/metrics"
)

// portal describes the dashboard of one portal.
func portal() dashboard {
	d := base(portalUID, "b24proxy / Portal",
		"One portal: its errors, the use of its limit, the waits, and its answers.")
	d.Links = []link{linkTo(overviewUID, "Overview", "All portals together")}
	d.Templating = variables(labelValues("portal", "Portal", `label_values(b24proxy_requests_total{job=~"$job"}, portal)`))
	d.Annotations = marks()
	d.lay(
		row{4, portalHeadline()},
		row{10, []panel{failuresByCode(onePortal), byOutcome(onePortal)}},
		row{9, []panel{otherErrorsByCode(onePortal), alertList()}},
		heading("Limit"),
		row{9, limit()},
		heading("Waits"),
		row{9, []panel{
			stacked("Waiting calls by priority", "short",
				"Calls that wait for a slot. When the queue is full, further calls are rejected.",
				query{this(`sum by (priority) (b24proxy_queue_depth{$this})`), "{{priority}}"}),
			lines("Wait by priority, 95 %", "s",
				"95 of 100 calls of a priority waited at most this long for a slot. The alert compares those of high and normal priority with 10 seconds.",
				query{this(`histogram_quantile(0.95, sum by (priority, le) (rate(b24proxy_queue_wait_seconds_bucket{$this}[$__rate_interval]))) >= 0`), "{{priority}}"}).
				empty("no calls in this time"),
			heatmap("Wait for a slot",
				"How many calls waited how long before the proxy sent them.",
				this(`sum by (le) (increase(b24proxy_queue_wait_seconds_bucket{$this}[$__rate_interval]))`)),
		}},
		heading("Reads that travel together (B24PROXY_AUTOBATCH)"),
		row{9, joined()},
		heading("Time"),
		row{9, []panel{
			quantiles("Time for clients",
				"How long clients waited until the end of their answers: the wait in the proxy and the time of the portal.",
				this(`b24proxy_request_duration_seconds_bucket{$this}`)),
			quantiles("Portal time",
				"How long the portal took to answer, without the wait in the proxy.",
				this(`b24proxy_portal_request_duration_seconds_bucket{$this}`)),
			heatmap("Portal time, spread",
				"How many attempts the portal answered in how much time.",
				this(`sum by (le) (increase(b24proxy_portal_request_duration_seconds_bucket{$this}[$__rate_interval]))`)),
		}},
		heading("Attempts"),
		row{9, attempts()},
		row{9, lost()},
	)
	return d
}

// onePortal selects the portal that the reader chose.
const onePortal = `job=~"$job",portal="$portal"`

func this(expr string) string { return strings.ReplaceAll(expr, "$this", onePortal) }

func portalHeadline() []panel {
	blocked := stat("Overload block", "none",
		"Whether the portal answers OVERLOAD_LIMIT. Bitrix24 sets this block by hand, and only its support lifts it.",
		number(this(`max(b24proxy_breaker_open{$this})`)), otherwise("text")).wide(2)
	mapping := words([2]string{"none", "green"}, [2]string{"blocked", "red"})
	blocked.FieldConfig.Defaults.Mappings = mapping.Value.([]any)
	return []panel{
		upTile().wide(3),
		availabilityTile(onePortal).wide(3),
		failedTile(onePortal).wide(3),
		stat("Calls", "reqps", "Calls of clients that ended, per second.",
			number(this(`sum(rate(b24proxy_requests_total{$this}[$__rate_interval]))`)),
			otherwise("blue")).wide(2),
		stat("Waiting", "locale", "Calls that wait for a slot now.",
			number(this(`sum(b24proxy_queue_depth{$this})`)),
			otherwise("blue")).whole().wide(2),
		stat("Queue used", "percentunit",
			"Waiting calls as a share of the queue's capacity, of the replica whose queue is longest.",
			number(this(`max(sum without (priority) (b24proxy_queue_depth{$this}) / b24proxy_queue_capacity{$this})`)),
			otherwise("green"), threshold("yellow", 0.5), threshold("red", 0.8)).ratio().whole().wide(2),
		stat("Limit used", "percentunit",
			"Calls that the portal still counts, as a share of its burst. A little below 100 % calls begin to wait (the proxy keeps a margin): the limit is used up, which is not an error. A portal without a limit has no bucket.",
			number(this(`max(b24proxy_bucket_level{$this} / b24proxy_bucket_burst{$this})`)),
			otherwise("blue")).ratio().whole().empty("no limit").wide(2),
		stat("Rate in force", "percentunit",
			"Calls per second that the proxy sends at most, as a share of what the plan allows. Below 100 % another program uses the same limit, or the shared store is away.",
			number(this(`min(b24proxy_bucket_rate{$this} / b24proxy_bucket_plan_rate{$this})`)),
			otherwise("orange"), threshold("green", 0.995)).ratio().whole().empty("no limit").wide(2),
		stat("Operating time", "percentunit",
			"Operating time of the most expensive method, as a share of what it may use within 10 minutes. At 100 % its calls get OPERATION_TIME_LIMIT.",
			number(this(`max(b24proxy_operating_ratio{$this})`)),
			otherwise("green"), threshold("yellow", 0.7), threshold("red", 0.9)).ratio().whole().wide(3),
		blocked,
	}
}

func limit() []panel {
	return []panel{
		lines("Bucket level", "short",
			"Calls that the portal still counts, by replica. The dashed line is the burst; calls begin to wait a little below it, because the proxy keeps a margin.",
			query{this(`b24proxy_bucket_level{$this}`), "level {{instance}}"},
			query{this(`max(b24proxy_bucket_burst{$this})`), "burst"}).
			with("burst", dashed(), unfilled(), colour("text")),
		lines("Rate", "reqps",
			"Calls per second that the proxy sends at most, by replica, and what the plan allows. It is lower than the plan's while another program uses the same limit or the shared store is away.",
			query{this(`b24proxy_bucket_rate{$this}`), "in force {{instance}}"},
			query{this(`max(b24proxy_bucket_plan_rate{$this})`), "plan"}).
			with("plan", dashed(), unfilled(), colour("text")),
		lines("Operating time", "percentunit",
			"Operating time of the most expensive method, as a share of what it may use within 10 minutes.",
			query{this(`max(b24proxy_operating_ratio{$this})`), "most expensive method"},
			query{`vector(1)`, "limit"}).
			with("limit", dashed(), unfilled(), colour("text")),
	}
}

func joined() []panel {
	const none = "no reads were sent together in this time"
	return []panel{
		stacked("Reads by batch", "reqps",
			"Reads per second that were sent in a batch with others, and those that were sent alone although reads travel together.",
			query{this(`sum(rate(b24proxy_autobatch_calls_total{$this}[$__rate_interval]))`), "together"},
			query{this(`sum(rate(b24proxy_autobatch_fallbacks_total{$this}[$__rate_interval]))`), "alone"}).
			with("together", colour("green")).
			with("alone", colour("yellow")).
			empty(none),
		lines("Reads in a batch", "short",
			"How many reads a batch carries, on average. It begins with ten of a method and grows when they are fast.",
			query{this(`sum(rate(b24proxy_autobatch_size_sum{$this}[$__rate_interval])) / sum(rate(b24proxy_autobatch_size_count{$this}[$__rate_interval])) >= 0`), "reads"}).
			empty(none),
		stacked("Sent alone by reason", "reqps",
			"Reads per second that were sent alone although reads travel together, by the reason: a parameter that a batch cannot carry, or what went wrong in a batch.",
			query{this(`sum by (reason) (rate(b24proxy_autobatch_fallbacks_total{$this}[$__rate_interval])) > 0`), "{{reason}}"}).
			empty("no read was sent alone in this time"),
	}
}

func attempts() []panel {
	return []panel{
		stacked("Attempts by status", "reqps",
			"Attempts sent to the portal per second, by the class of its status; none means that no answer came.",
			query{this(`sum by (status_class) (rate(b24proxy_portal_requests_total{$this}[$__rate_interval]))`), "{{status_class}}"}).
			with("2xx", colour("green")).
			with("3xx", colour("blue")).
			with("4xx", colour("yellow")).
			with("5xx", colour("red")).
			with(metrics.None, colour("purple")),
		lines("In flight", "short",
			"Attempts sent to the portal whose answer has not ended.",
			query{this(`sum(b24proxy_portal_in_flight_requests{$this})`), "in flight"}),
		stacked("Sent again", "reqps",
			"Attempts per second after the first of a call, by the reason for sending it again. The proxy sends again only calls that surely did not run or may run twice.",
			query{this(`sum by (reason) (rate(b24proxy_resends_total{$this}[$__rate_interval])) > 0`), "{{reason}}"}).
			empty("no call was sent again in this time"),
		stacked("Writes that would have run twice", "reqps",
			"Calls per second that repeat a write whose result nobody received, or that have its Idempotency-Key, by what was done instead of sending them: joined and replayed got the answer of the first, held got 409 CALL_MAY_HAVE_RUN.",
			query{this(`sum by (result) (rate(b24proxy_replays_total{$this, result=~"joined|replayed|held"}[$__rate_interval])) > 0`), "{{result}}"}).
			empty("no write was repeated in this time"),
	}
}

func lost() []panel {
	return []panel{
		stacked("Rejected by reason", "reqps",
			"Calls per second that the proxy answered itself instead of sending them.",
			query{this(`sum by (reason) (rate(b24proxy_rejected_total{$this}[$__rate_interval])) and on (reason) sum by (reason) (increase(b24proxy_rejected_total{$this}[$__range] @ end())) > 0`), "{{reason}}"}).
			empty("no call was rejected in this time"),
		lines("Hung up while waiting", "reqps",
			"Calls per second whose client hung up before they got a slot. The portal never saw them.",
			query{this(`sum(rate(b24proxy_queue_abandoned_total{$this}[$__rate_interval]))`), "hung up"}),
	}
}
