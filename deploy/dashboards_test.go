package deploy

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

type dashboard struct {
	UID   string
	Title string
	Links []struct{ URL string }

	Templating struct {
		List []struct{ Name, Type string }
	}
	Panels []dashboardPanel
}

type dashboardPanel struct {
	Type, Title, Description string
	GridPos                  struct{ H, W, X, Y int }
	Targets                  []struct {
		RefID, Expr string
		Datasource  struct{ UID string }
	}
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
}

// dashboards returns the shipped dashboards by uid.
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

// The uids stand in links and bookmarks, so they never change.
func TestDashboardUIDs(t *testing.T) {
	all := dashboards(t)
	if len(all) != 2 {
		t.Errorf("there are %d dashboards, want 2", len(all))
	}
	for _, uid := range []string{"b24proxy-overview", "b24proxy-portal"} {
		if _, ok := all[uid]; !ok {
			t.Errorf("no dashboard has the uid %s", uid)
		}
	}
}

// Each dashboard lets one choose the data source, the job and the portal.
func TestDashboardVariables(t *testing.T) {
	for uid, d := range dashboards(t) {
		var got []string
		for _, v := range d.Templating.List {
			got = append(got, v.Name+":"+v.Type)
		}
		if want := "datasource:datasource job:query portal:query"; strings.Join(got, " ") != want {
			t.Errorf("%s has the variables %v, want %s", uid, got, want)
		}
	}
}

// The dashboards lead to each other, and the table to the portal of its line.
func TestDashboardLinks(t *testing.T) {
	all := dashboards(t)
	for from, to := range map[string]string{"b24proxy-overview": "b24proxy-portal", "b24proxy-portal": "b24proxy-overview"} {
		links := all[from].Links
		if len(links) != 1 || links[0].URL != "/d/"+to {
			t.Errorf("%s has the links %v, want one to %s", from, links, to)
		}
	}
	if !strings.Contains(read(t, "grafana/dashboards/b24proxy-overview.json"), `"/d/b24proxy-portal?var-portal=${__value.text}`) {
		t.Error("no line of the overview leads to its portal")
	}
}

// Each panel explains itself, has a unit, asks the chosen data source, and
// names only metrics, labels and recording rules that exist.
func TestDashboardPanels(t *testing.T) {
	rules := recordingRules(t)
	for uid, d := range dashboards(t) {
		for _, p := range d.Panels {
			where := uid + "/" + p.Title
			if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s (%s) lacks a title, a description or a unit", where, p.Type)
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s asks nothing", where)
			}
			for _, target := range p.Targets {
				checkExpression(t, where+"/"+target.RefID, target.Expr, rules)
				if target.Datasource.UID != "${datasource}" {
					t.Errorf("%s asks the data source %q", where, target.Datasource.UID)
				}
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
				t.Errorf("%s/%s is at %+v", uid, p.Title, at)
			}
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s/%s covers %s", uid, p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}
