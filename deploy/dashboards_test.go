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

// The dashboards link to each other, and each line of the table to its portal.
func TestDashboardLinks(t *testing.T) {
	all := dashboards(t)
	for from, to := range map[string]string{"b24proxy-overview": "b24proxy-portal", "b24proxy-portal": "b24proxy-overview"} {
		links := all[from].Links
		if len(links) != 1 || links[0].URL != "/d/"+to {
			t.Errorf("%s: got the links %v, want one to %s", from, links, to)
		}
	}
	if !strings.Contains(read(t, "grafana/dashboards/b24proxy-overview.json"), `"/d/b24proxy-portal?var-portal=${__value.text}`) {
		t.Error("the overview: got no link from a line to its portal, want one")
	}
}

// Each panel has a title, a description and a unit, queries the data source that
// was chosen, and names only metrics, labels and recording rules that exist.
func TestDashboardPanels(t *testing.T) {
	rules := recordingRules(t)
	for uid, d := range dashboards(t) {
		for _, p := range d.Panels {
			where := uid + "/" + p.Title
			if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: got the title %q, the description %q and the unit %q, want all three", where, p.Title, p.Description, p.FieldConfig.Defaults.Unit)
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
