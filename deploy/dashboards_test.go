package deploy

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type dashboard struct {
	UID   string
	Title string
	Links []struct {
		URL         string
		IncludeVars bool
	}

	Templating struct {
		List []variable
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Panels []dashboardPanel
}

type dashboardPanel struct {
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct {
		RefID, Expr string
		Instant     bool
		Range       bool
		Datasource  struct{ UID string }
	}
	FieldConfig struct {
		Defaults struct {
			Unit, NoValue string
			Max           *float64
			Links         []dataLink
			Custom        struct{ AxisSoftMax float64 }
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Options json.RawMessage
}

type dataLink struct{ URL string }

type variable struct {
	Name, Type string
	IncludeAll bool
}

// charts returns the panels that show something; rows are only headings.
func (d dashboard) charts() []dashboardPanel {
	return slices.DeleteFunc(slices.Clone(d.Panels), func(p dashboardPanel) bool { return p.Type == "row" })
}

// dashboards returns the dashboards by uid.
func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob("grafana/dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]dashboard)
	for _, file := range files {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[d.UID] = d
	}
	return all
}

// The uids are part of links and bookmarks, so they never change.
func TestDashboardUIDs(t *testing.T) {
	all := dashboards(t)
	if len(all) != 2 {
		t.Errorf("got %d dashboards, want 2", len(all))
	}
	for _, uid := range []string{"b24proxy-overview", "b24proxy-portal"} {
		if _, ok := all[uid]; !ok {
			t.Errorf("got no dashboard with the uid %s, want one", uid)
		}
	}
}

// In each dashboard the reader chooses the data source, the job and the portal.
func TestDashboardVariables(t *testing.T) {
	for uid, d := range dashboards(t) {
		var got []string
		for _, v := range d.Templating.List {
			got = append(got, v.Name+":"+v.Type)
		}
		if want := "datasource:datasource job:query portal:query"; strings.Join(got, " ") != want {
			t.Errorf("%s: got the variables %v, want %s", uid, got, want)
		}
	}
}

// The dashboards link to each other.
func TestDashboardLinks(t *testing.T) {
	all := dashboards(t)
	for from, to := range map[string]string{"b24proxy-overview": "b24proxy-portal", "b24proxy-portal": "b24proxy-overview"} {
		links := all[from].Links
		if len(links) != 1 || !strings.HasPrefix(links[0].URL, "/d/"+to+"?") {
			t.Errorf("%s: got the links %v, want one to %s", from, links, to)
		}
	}
}

// Whoever follows a link finds the data source and the job chosen as before. A link
// to all portals leaves the portal open, one from a row or series chooses its portal.
func TestLinksLead(t *testing.T) {
	all := dashboards(t)
	for uid, d := range all {
		for _, l := range d.Links {
			if l.IncludeVars {
				t.Errorf("%s: got a link to %s with all variables, want those that it names", uid, l.URL)
			}
			if got, want := follow(t, all, l.URL), "var-datasource=prometheus&var-job=%24__all"; got != want {
				t.Errorf("%s: got a link that passes %s, want %s", uid, got, want)
			}
		}
		links := 0
		for _, p := range d.charts() {
			for _, to := range p.dataLinks(t) {
				links++
				if got, want := follow(t, all, to), "from=now-3h&to=now&var-datasource=prometheus&var-job=%24__all&var-portal=acme.bitrix24.com"; got != want {
					t.Errorf("%s/%s: got a link that passes %s, want %s", uid, p.Title, got, want)
				}
			}
		}
		if links == 0 {
			t.Errorf("%s: got no link from a row to its portal, want one", uid)
		}
	}
}

// dataLinks returns the addresses to which series and cells of a panel lead.
func (p dashboardPanel) dataLinks(t *testing.T) []string {
	t.Helper()
	links := slices.Clone(p.FieldConfig.Defaults.Links)
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "links" {
				continue
			}
			var more []dataLink
			if err := json.Unmarshal(property.Value, &more); err != nil {
				t.Fatal(err)
			}
			links = append(links, more...)
		}
	}
	urls := make([]string, len(links))
	for i, l := range links {
		urls[i] = l.URL
	}
	return urls
}

// chosen is what a link's variables are where the reader has chosen all jobs, and
// clicks on the portal acme.bitrix24.com.
var chosen = strings.NewReplacer(
	"${datasource:queryparam}", "var-datasource=prometheus",
	"${job:queryparam}", "var-job=$__all",
	"${__url_time_range}", "from=now-3h&to=now",
	"${__value.raw}", "acme.bitrix24.com",
	"${__field.labels.portal}", "acme.bitrix24.com",
)

// follow returns what a link passes. The dashboard to which it leads must have each
// variable, and take "All" where it gets that.
func follow(t *testing.T, all map[string]dashboard, link string) string {
	t.Helper()
	to, err := url.Parse(chosen.Replace(link))
	if err != nil {
		t.Fatal(err)
	}
	target, ok := all[strings.TrimPrefix(to.Path, "/d/")]
	if !ok {
		t.Errorf("got a link to %s, want one to a dashboard that exists", to.Path)
	}
	for name, values := range to.Query() {
		name, isVariable := strings.CutPrefix(name, "var-")
		if !isVariable {
			continue
		}
		i := slices.IndexFunc(target.Templating.List, func(v variable) bool { return v.Name == name })
		if i < 0 {
			t.Errorf("%s: got the variable %s, which %s lacks", link, name, to.Path)
		} else if values[0] == "$__all" && !target.Templating.List[i].IncludeAll {
			t.Errorf("%s: got All for the variable %s, which %s does not take", link, name, to.Path)
		}
	}
	return to.Query().Encode()
}

// Each panel has a title, a description, a unit and a word for the case that it has
// no data, queries the data source that was chosen, and names only metrics, labels
// and recording rules that exist.
func TestDashboardPanels(t *testing.T) {
	rules := recordingRules(t)
	for uid, d := range dashboards(t) {
		for _, p := range d.charts() {
			where, field := uid+"/"+p.Title, p.FieldConfig.Defaults
			if p.Title == "" || p.Description == "" || field.Unit == "" || field.NoValue == "" {
				t.Errorf("%s: got the title %q, the description %q, the unit %q and %q for no data, want all four", where, p.Title, p.Description, field.Unit, field.NoValue)
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: got no query, want one", where)
			}
			for _, target := range p.Targets {
				checkExpression(t, where+"/"+target.RefID, target.Expr, rules)
				if target.Datasource.UID != "${datasource}" {
					t.Errorf("%s: got the data source %q, want the one that was chosen", where, target.Datasource.UID)
				}
			}
		}
		for _, a := range d.Annotations.List {
			checkExpression(t, uid+"/"+a.Name, a.Expr, rules)
		}
	}
}

// Tiles and tables show what is so now, not the last value of a range that may have
// ended long ago. Graphs show the range.
func TestNowIsNow(t *testing.T) {
	for uid, d := range dashboards(t) {
		for _, p := range d.charts() {
			isNow := p.Type == "stat" || p.Type == "table"
			for _, target := range p.Targets {
				if target.Instant != isNow || target.Range == isNow {
					t.Errorf("%s/%s: got instant %t and range %t for a %s, want the other", uid, p.Title, target.Instant, target.Range, p.Type)
				}
			}
		}
	}
}

var window = regexp.MustCompile(`\[([^\]]+)\]`)

// A graph has one window, the short one, so that the onset of trouble is sharp.
func TestGraphsHaveOneShortWindow(t *testing.T) {
	for uid, d := range dashboards(t) {
		for _, p := range d.charts() {
			if p.Type != "timeseries" && p.Type != "heatmap" {
				continue
			}
			for _, target := range p.Targets {
				if strings.Contains(target.Expr, ":rate5m") {
					t.Errorf("%s/%s: got a rate over 5 minutes, want one over the short window", uid, p.Title)
				}
				for _, match := range window.FindAllStringSubmatch(target.Expr, -1) {
					if match[1] != "$__rate_interval" && match[1] != "$__range" { // the latter chooses series
						t.Errorf("%s/%s: got the window %s, want $__rate_interval", uid, p.Title, match[1])
					}
				}
			}
		}
	}
}

// No axis that shows only zeros is scaled to 100.
func TestAxesFitZeros(t *testing.T) {
	for uid, d := range dashboards(t) {
		for _, p := range d.charts() {
			if field := p.FieldConfig.Defaults; p.Type == "timeseries" && field.Max == nil && field.Custom.AxisSoftMax == 0 {
				t.Errorf("%s/%s: got an axis with the unit %s and no maximum, want one", uid, p.Title, field.Unit)
			}
		}
	}
}

// No panel covers another or leaves the grid of 24 columns.
func TestDashboardLayout(t *testing.T) {
	for uid, d := range dashboards(t) {
		taken := make(map[[2]int]string)
		for _, p := range d.Panels {
			at := p.GridPos
			if at.X < 0 || at.X+at.W > 24 || at.W == 0 || at.H == 0 {
				t.Errorf("%s/%s: got the place %+v, want one in 24 columns", uid, p.Title, at)
			}
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s/%s covers %s, want a place of its own", uid, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}
