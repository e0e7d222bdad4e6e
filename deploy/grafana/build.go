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

func linkTo(uid, title, tooltip string) link {
	return link{
		Type: "link", Title: title, Icon: "dashboard", Tooltip: tooltip, URL: "/d/" + uid,
		Tags: []string{}, IncludeVars: true, KeepTime: true,
	}
}

// variables lets the reader choose the data source, the scrape job and the portal.
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
	v.Multi, v.IncludeAll, v.AllValue = true, true, ".+"
	v.Current = &current{Text: "All", Value: "$__all"}
	return v
}

// row is a line of panels with the same height; they share the width evenly.
type row struct {
	height int
	panels []panel
}

func (d *dashboard) lay(rows ...row) {
	y := 0
	for _, r := range rows {
		width := 24 / len(r.panels)
		for i, p := range r.panels {
			p.ID = len(d.Panels) + 1
			p.Position = position{H: r.height, W: width, X: i * width, Y: y}
			d.Panels = append(d.Panels, p)
		}
		y += r.height
	}
}

// query is an expression and the legend of its series.
type query struct{ expr, legend string }

func newPanel(kind, title, unit, description string, queries []query) panel {
	p := panel{
		Type: kind, Title: title, Description: description, Datasource: prometheus,
		FieldConfig: fieldConfig{Defaults: field{Unit: unit}, Overrides: []override{}},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, target{
			RefID: string(rune('A' + i)), Datasource: prometheus, Range: true, Format: "time_series",
			Expr: strings.TrimSpace(q.expr), Legend: q.legend,
		})
	}
	return p
}

// stat shows one number, with its history behind it.
func stat(title, unit, description, expr string, steps ...step) panel {
	p := newPanel("stat", title, unit, description, []query{{expr, ""}})
	p.FieldConfig.Defaults.Thresholds = &thresholds{Mode: "absolute", Steps: steps}
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "thresholds"}
	p.Options = map[string]any{
		"colorMode": "value", "graphMode": "area", "textMode": "value", "justifyMode": "center",
		"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "values": false},
	}
	return p
}

// lines shows series over time.
func lines(title, unit, description string, queries ...query) panel {
	p := newPanel("timeseries", title, unit, description, queries)
	p.FieldConfig.Defaults.Min = new(0.0)
	p.FieldConfig.Defaults.Color = map[string]any{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Custom = map[string]any{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// stacked shows series over time whose sum means something.
func stacked(title, unit, description string, queries ...query) panel {
	p := lines(title, unit, description, queries...)
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 40
	return p
}

// heatmap shows the distribution of a histogram over time.
func heatmap(title, description, expr string) panel {
	p := newPanel("heatmap", title, "s", description, []query{{expr, "{{le}}"}})
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
	by := "sum by (le) (rate(" + histogram + "[$__rate_interval])))"
	p := lines(title, "s", description,
		query{"histogram_quantile(0.5, " + by, "half"},
		query{"histogram_quantile(0.95, " + by, "95 %"},
		query{"histogram_quantile(0.99, " + by, "99 %"})
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

// byOutcome shows the calls, with the same colours on both dashboards.
func byOutcome(expr string) panel {
	return stacked("Calls by outcome", "reqps",
		"Calls of clients per second, by how they ended: method_error is an error of the method that was called, portal_error a system error of Bitrix24; the proxy answered rejected calls itself; for unreachable ones it found no connection; abandoned means that the client hung up.",
		query{expr, "{{outcome}}"}).
		with(string(metrics.OK), colour("green")).
		with(string(metrics.MethodError), colour("yellow")).
		with(string(metrics.PortalError), colour("red")).
		with(string(metrics.Rejected), colour("orange")).
		with(string(metrics.Unreachable), colour("dark-red")).
		with(string(metrics.Abandoned), colour("text"))
}
