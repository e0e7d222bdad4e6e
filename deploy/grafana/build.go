package main

import (
	"strings"

	"b24proxy/metrics"
)

const (
	overviewUID = "b24proxy-overview"
	portalUID   = "b24proxy-portal"
)

var prometheus = datasource{Type: "prometheus", UID: "${datasource}"}

// base returns what both dashboards share.
func base(uid, title, description string) dashboard {
	return dashboard{
		UID:           uid,
		Title:         title,
		Description:   description,
		Tags:          []string{"b24proxy"},
		SchemaVersion: 39,
		GraphTooltip:  1,
		Refresh:       "30s",
		Time:          timeRange{From: "now-3h", To: "now"},
		Timezone:      "browser",
	}
}

// same passes on what the reader chose, where both dashboards have it. The portal
// is left out: one of them shows all, the other one.
const same = "${datasource:queryparam}&${job:queryparam}"

func linkTo(uid, title, tooltip string) link {
	return link{
		Type: "link", Title: title, Icon: "dashboard", Tooltip: tooltip, URL: "/d/" + uid + "?" + same,
		Tags: []string{}, KeepTime: true,
	}
}

// toPortal leads from a series or a cell to the portal that the expression names.
func toPortal(name string) []dataLink {
	return []dataLink{{
		Title: "Show " + name,
		URL:   "/d/" + portalUID + "?var-portal=" + name + "&" + same + "&${__url_time_range}",
	}}
}

// variables lets the reader choose the data source, the scrape job and the portal.
// All jobs are those of proxies: their names are sent, since other programs have
// an "up" too.
func variables(portal variable) templating {
	return templating{List: []variable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Refresh: 1},
		all(labelValues("job", "Job", "label_values(b24proxy_build_info, job)")),
		portal,
	}}
}

func labelValues(name, label, query string) variable {
	return variable{
		Name: name, Label: label, Type: "query", Datasource: &prometheus, Refresh: 2, Sort: 1,
		Query: map[string]any{"query": query, "refId": "variable"},
	}
}

// all makes a variable accept many values, and all of them at first.
func all(v variable) variable {
	v.Multi, v.IncludeAll = true, true
	v.Current = &current{Text: "All", Value: "$__all"}
	return v
}

// marks are shown on every graph. A version is new if its instance has not run it
// within a day.
func marks() annotations {
	mark := func(name, color, expr, title string) annotation {
		return annotation{Name: name, Datasource: prometheus, Enable: true, IconColor: color, Expr: expr, TitleFormat: title, Step: "60s"}
	}
	alerts := mark("Alerts", "red", `ALERTS{alertname=~"B24Proxy.*",alertstate="firing",job=~"$job|",portal=~"$portal|"}`, "{{alertname}}")
	alerts.TextFormat, alerts.TagKeys = "{{portal}}{{instance}}", "severity"
	restarts := mark("Starts", "blue", `process_start_time_seconds{job=~"$job"} * 1000`, "{{instance}} started")
	restarts.ValueForTime = true
	versions := mark("Versions", "purple",
		`b24proxy_build_info{job=~"$job"} unless on (job, instance, version, revision) last_over_time(b24proxy_build_info{job=~"$job"}[1d] offset 1m)`,
		"{{instance}} runs {{version}}")
	return annotations{List: []annotation{alerts, restarts, versions}}
}

// row is a line of panels with the same height. A panel without a width shares
// the rest of the line with the others.
type row struct {
	height int
	panels []panel
}

func (d *dashboard) lay(rows ...row) {
	y := 0
	for _, r := range rows {
		x := 0
		for i, p := range r.panels {
			p.ID = len(d.Panels) + 1
			if p.Position.W == 0 {
				p.Position.W = (24 - x) / (len(r.panels) - i)
			}
			p.Position.H, p.Position.X, p.Position.Y = r.height, x, y
			x += p.Position.W
			d.Panels = append(d.Panels, p)
		}
		y += r.height
	}
}

// wide gives a panel a width of its own.
func (p panel) wide(columns int) panel {
	p.Position.W = columns
	return p
}

// heading begins a group of panels, which the reader can fold.
func heading(title string) row {
	return row{1, []panel{{Type: "row", Title: title, Datasource: prometheus, Targets: []target{}, Options: map[string]any{}, FieldConfig: fieldConfig{Overrides: []override{}}}}}
}

// query is an expression and the legend of its series.
type query struct{ expr, legend string }

func newPanel(kind, title, unit, description string, queries []query) panel {
	p := panel{
		Type: kind, Title: title, Description: description, Datasource: prometheus,
		FieldConfig: fieldConfig{Defaults: field{Unit: unit, NoValue: "no data: no proxy is scraped"}, Overrides: []override{}},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, target{
			RefID: string(rune('A' + i)), Datasource: prometheus, Range: true, Format: "time_series",
			Expr: strings.TrimSpace(q.expr), Legend: q.legend,
		})
	}
	return p
}

// instant asks for the values of now alone: what has ended is not shown.
func (p panel) instant() panel {
	for i := range p.Targets {
		p.Targets[i].Instant, p.Targets[i].Range = true, false
	}
	return p
}

// empty is what the panel says when it has nothing to show.
func (p panel) empty(says string) panel {
	p.FieldConfig.Defaults.NoValue = says
	return p
}

// stat shows numbers of now.
func stat(title, unit, description string, queries []query, steps ...step) panel {
	p := newPanel("stat", title, unit, description, queries).instant().empty("no data")
	p.FieldConfig.Defaults.Thresholds = &thresholds{Mode: "absolute", Steps: steps}
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
	p.Options = map[string]any{
		"colorMode": "value", "graphMode": "none", "textMode": "value", "justifyMode": "center", "wideLayout": false,
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "values": false},
	}
	return p
}

// number is the query of a tile with one number.
func number(expr string) []query { return []query{{expr, ""}} }

// named shows the name of a tile's series too.
func (p panel) named() panel {
	p.Options["textMode"] = "value_and_name"
	return p
}

// calm is the least that an axis shows, by unit, so that zeros do not look like
// much and little does not look like all.
var calm = map[string]float64{"reqps": 1, "short": 5, "s": 1, "percentunit": 0.1, "bytes": 1 << 20, "none": 1}

// lines shows series over time. Its legend says how much they are, were on average
// and were at most.
func lines(title, unit, description string, queries ...query) panel {
	p := newPanel("timeseries", title, unit, description, queries)
	p.FieldConfig.Defaults.Min = new(0.0)
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic-by-name"}
	p.FieldConfig.Defaults.Custom = map[string]any{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "pointSize": 4, "axisSoftMax": calm[unit],
	}
	p.Options = map[string]any{
		"legend": map[string]any{
			"displayMode": "table", "placement": "bottom", "showLegend": true,
			"calcs": []string{"lastNotNull", "mean", "max"}, "sortBy": "Max", "sortDesc": true,
		},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// beside puts the legend to the right, where it has room for many series.
func (p panel) beside() panel {
	p.Options["legend"].(map[string]any)["placement"] = "right"
	return p
}

// stacked shows series over time whose sum means something.
func stacked(title, unit, description string, queries ...query) panel {
	p := lines(title, unit, description, queries...)
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 40
	return p
}

// column is a column of a table with a row per value of a label.
type column struct {
	name, unit, expr string
	properties       []property
}

// table has a line per value of the label that its columns have in common. Labels
// are the columns before them, with their titles by name.
func table(title, description string, labels [][2]string, columns []column) panel {
	names, order := map[string]any{}, map[string]any{}
	for i, l := range labels {
		names[l[0]], order[l[0]] = l[1], i
	}
	var queries []query
	for i, c := range columns {
		queries = append(queries, query{c.expr, ""})
		value := "Value #" + string(rune('A'+i))
		if len(columns) == 1 {
			value = "Value"
		}
		names[value], order[value] = c.name, len(labels)+i
	}
	p := newPanel("table", title, "short", description, queries).instant()
	for i := range p.Targets {
		p.Targets[i].Format = "table"
	}
	p.Options = map[string]any{"showHeader": true, "cellHeight": "sm"}
	p.FieldConfig.Defaults.Custom = map[string]any{"minWidth": 60}
	p.Transformations = []transformation{
		{ID: "merge", Options: map[string]any{}},
		{ID: "organize", Options: map[string]any{
			"excludeByName": map[string]any{"Time": true},
			"indexByName":   order,
			"renameByName":  names,
		}},
	}
	// An empty cell is not an empty table.
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{matcher{"byRegexp", "/.+/"}, []property{{"noValue", "–"}}})
	for _, c := range columns {
		p = p.with(c.name, append([]property{{"unit", c.unit}}, c.properties...)...)
	}
	return p
}

// hide leaves a column out.
func (p panel) hide(name string) panel {
	p.Transformations[1].Options["excludeByName"].(map[string]any)[name] = true
	return p
}

// sorted orders the lines by columns, each after the ones before it: a name with a
// minus has the highest first.
func (p panel) sorted(columns ...string) panel {
	var by []any
	for _, c := range columns {
		name, isDescending := strings.CutPrefix(c, "-")
		by = append(by, map[string]any{"displayName": name, "desc": isDescending})
	}
	p.Options["sortBy"] = by
	return p
}

// cells colours the text or background of a column's cells by its value.
func cells(kind string, steps ...step) []property {
	return []property{
		{"custom.cellOptions", map[string]any{"type": kind, "mode": "basic"}},
		{"thresholds", thresholds{Mode: "absolute", Steps: steps}},
		{"color", map[string]any{"mode": "thresholds"}},
	}
}

// words shows a word in place of a number, in a colour.
func words(of ...[2]string) property {
	options := make(map[string]any)
	for i, w := range of {
		options[string(rune('0'+i))] = map[string]any{"text": w[0], "color": w[1], "index": i}
	}
	return property{"mappings", []any{map[string]any{"type": "value", "options": options}}}
}

// alertList shows the alerts that fire or will, with the moment at which their
// condition began to hold.
func alertList() panel {
	return table("Alerts",
		"Alerts that fire, or will if what they describe goes on, and since when it has. deploy/README.md has a section on each.",
		[][2]string{{"alertstate", "State"}, {"alertname", "Alert"}, {"portal", "Portal"}, {"instance", "Instance"}},
		[]column{{"Since", "dateTimeAsIsoNoDateIfToday", `1000 * (ALERTS{alertname=~"B24Proxy.*",job=~"$job|",portal=~"$portal|"} * ignoring(alertstate) group_left() ALERTS_FOR_STATE{alertname=~"B24Proxy.*"})`,
			[]property{{"custom.width", 85}}}}).
		hide("job").hide("severity").hide("__name__").sorted("State", "-Since").
		with("State", property{"custom.width", 75}, cells("color-text")[0], property{"mappings", []any{map[string]any{"type": "value", "options": map[string]any{
			"firing":  map[string]any{"color": "red", "index": 0},
			"pending": map[string]any{"color": "orange", "index": 1},
		}}}}).
		with("Portal", property{"links", toPortal("${__value.raw}")}).
		with("Alert", property{"custom.width", 245}).
		empty("no alert fires")
}

// heatmap shows the distribution of a histogram over time.
func heatmap(title, description, expr string) panel {
	p := newPanel("heatmap", title, "s", description, []query{{expr, "{{le}}"}}).empty("no calls in this time")
	p.Targets[0].Format = "heatmap"
	p.Options = map[string]any{
		"calculate":    false,
		"cellGap":      1,
		"color":        map[string]any{"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange", "reverse": false},
		"exemplars":    map[string]any{"color": "rgba(255,0,255,0.7)"},
		"filterValues": map[string]any{"le": 1e-9},
		"legend":       map[string]any{"show": true},
		"rowsFrame":    map[string]any{"layout": "auto"},
		"showValue":    "never",
		"tooltip":      map[string]any{"mode": "single", "yHistogram": false, "showColorScale": true},
		"yAxis":        map[string]any{"axisPlacement": "left", "unit": "s", "reverse": false},
	}
	return p
}

// quantiles shows quantiles of a classic histogram. The exemplars of the highest
// one lead to single requests.
func quantiles(title, description, histogram string) panel {
	by := "sum by (le) (rate(" + histogram + "[$__rate_interval]))) >= 0" // and not NaN, where there were no calls
	p := lines(title, "s", description,
		query{"histogram_quantile(0.5, " + by, "half"},
		query{"histogram_quantile(0.95, " + by, "95 %"},
		query{"histogram_quantile(0.99, " + by, "99 %"}).
		empty("no calls in this time").
		with("half", colour("green")).with("95 %", colour("yellow")).with("99 %", colour("orange"))
	p.Targets[2].Exemplar = true
	return p
}

// threshold sets the colour from a value on.
func threshold(color string, from float64) step { return step{color, &from} }

// otherwise sets the colour below all thresholds.
func otherwise(color string) step { return step{color, nil} }

// ratio draws values from 0 to 1.
func (p panel) ratio() panel {
	p.FieldConfig.Defaults.Min, p.FieldConfig.Defaults.Max = new(0.0), new(1.0)
	return p
}

func (p panel) whole() panel {
	p.FieldConfig.Defaults.Decimals = new(0)
	return p
}

// with sets properties of the series or column with this name.
func (p panel) with(name string, properties ...property) panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides,
		override{Matcher: matcher{ID: "byName", Options: name}, Properties: properties})
	return p
}

func colour(name string) property {
	return property{"color", map[string]any{"mode": "fixed", "fixedColor": name}}
}

// dashed marks a line that is a bound, not a measurement.
func dashed() property {
	return property{"custom.lineStyle", map[string]any{"fill": "dash", "dash": []int{8, 8}}}
}

func unfilled() property { return property{"custom.fillOpacity", 0} }

// failing shows failed calls by labels. The rule has no value where nothing fails;
// series with a value in the time shown are zero there.
func failing(by, selector string) string {
	series := failures + "{" + selector + "}"
	return "sum by (" + by + ") (" + series + ") or 0 * sum by (" + by + ") (max_over_time(" + series + "[$__range] @ end()))"
}

// failures is the rule that counts failed calls by code.
const failures = "job_portal_code:b24proxy_failures:rate1m"

// failuresByCode shows the calls that count as failed.
func failuresByCode(selector string) panel {
	return stacked("Failures by code, per second", "none",
		"Calls per second that failed for their callers, by the code that they got. Errors that callers must mend themselves are apart, and so are refusals of portals that the proxy absorbed by sending the call again. A read that is sent once more after an unexpected answer counts twice.",
		query{failing("code", selector), "{{code}}"}).
		colouredByCode(failureCodes()).beside().empty("no call failed in this time")
}

// otherErrorsByCode shows what callers got and must mend themselves.
func otherErrorsByCode(selector string) panel {
	return stacked("Errors for callers to mend, per second", "none",
		"Errors per second that do not count as failures: a wrong token, a missing right, a request that cannot be sent, operating time used up. Errors of the methods themselves are in the calls by outcome.",
		query{`sum by (code) (rate(b24proxy_errors_total{` + selector + `,source=~"portal|proxy",code!~"` + alternatives(failureCodes()) + `|.*RATELIMITEXCEPTION|empty|numeric|other"}[$__rate_interval])) > 0`, "{{code}}"}).
		colouredByCode(otherCodes()).beside().empty("no such error in this time")
}

// byOutcome shows the calls, with the same colours on both dashboards.
func byOutcome(selector string) panel {
	const mixed = string(metrics.PortalError + "|" + metrics.Rejected)
	p := stacked("Calls by outcome", "reqps",
		"Calls of clients per second, by how they ended: method_error is an error of the method that was called, portal_error a system error of Bitrix24; the proxy answered rejected calls itself; for unreachable ones it found no connection; abandoned means that the client hung up. Of the errors only those with a status of 5xx count as failures.",
		query{`sum by (outcome) (rate(b24proxy_requests_total{` + selector + `,outcome!~"` + mixed + `"}[$__rate_interval]))`, "{{outcome}}"},
		query{`sum by (outcome, status_class) (rate(b24proxy_requests_total{` + selector + `,outcome=~"` + mixed + `"}[$__rate_interval]))`, "{{outcome}} {{status_class}}"}).
		beside()
	for _, o := range outcomeColours {
		p = p.with(o.name, colour(o.colour))
	}
	return p
}

// failedShare shows availability as what is missing from it. While all is well its
// axis ends at 2 %, so that 0.1 % and 1 % differ.
func failedShare(selector string) panel {
	p := lines("Failed calls", "percentunit",
		"Share of the calls that failed, over 1 minute: rejected, not reached the portal, or a system error, each with a status of 5xx. The dashed line is the objective.",
		query{`sum(rate(b24proxy_requests_total{` + selector + `,` + failedCalls + `}[$__rate_interval])) / (sum(rate(b24proxy_requests_total{` + selector + `,outcome!="abandoned"}[$__rate_interval])) > 0)`, "failed"},
		query{`vector(` + errorBudget + `)`, "objective"}).
		with("failed", colour("red")).
		with("objective", dashed(), unfilled(), colour("text"))
	p.FieldConfig.Defaults.Custom["axisSoftMax"] = 0.02
	return p
}

// errorBudget is the share of the calls that may fail within 30 days.
const errorBudget = "0.005"

// failedCalls selects the calls of requests_total that count as failed.
const failedCalls = `outcome=~"rejected|unreachable|portal_error",status_class="5xx"`

// upTile says how many proxies answer Prometheus.
func upTile() panel {
	return stat("Proxies", "none", "Instances that answer Prometheus, and those that do not.",
		[]query{{`sum(up{job=~"$job"}) or vector(0)`, "up"}, {`count(up{job=~"$job"} == 0) or vector(0)`, "down"}},
		otherwise("red"), threshold("green", 1)).
		named().
		with("down", property{"thresholds", thresholds{Mode: "absolute", Steps: []step{otherwise("text"), threshold("red", 1)}}})
}

// availabilityTile is an average.
func availabilityTile(selector string) panel {
	p := stat("Availability (average)", "percentunit",
		"Share of the calls that did not fail, on average over the time shown. The objective is 99.5 %.",
		number(`1 - sum(sum_over_time(job_portal:b24proxy_requests_failed:rate5m{`+selector+`}[$__range])) / (sum(sum_over_time(job_portal:b24proxy_requests:rate5m{`+selector+`}[$__range])) > 0)`),
		otherwise("red"), threshold("yellow", 0.995), threshold("green", 0.999)).empty("no calls")
	p.FieldConfig.Defaults.Decimals = new(2)
	return p
}

// failedTile counts.
func failedTile(selector string) panel {
	return stat("Failed (range)", "locale", "Calls that failed in the time shown, whatever the reason.",
		number(`round(sum(increase(b24proxy_requests_total{`+selector+`,`+failedCalls+`}[$__range]))) or 0 * sum(up{job=~"$job"})`),
		otherwise("green"), threshold("red", 1)).whole()
}
