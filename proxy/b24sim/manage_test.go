package b24sim

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a test can ask a Portal, anybody can ask over HTTP.
func TestManagement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Burst: 50, Rate: 2, Seed: 3})
		m := p.Management()
		if w := get(t, m, "/"); w.Code != 200 || !strings.Contains(w.Body.String(), "POST   /spend") {
			t.Errorf("got the manual %d %s, want 200 and all commands", w.Code, w.Body)
		}
		get(t, p, hook+"profile")
		call(t, p, "POST", hook+"crm.deal.add", jsonType, `{"fields":{"TITLE":"marker-1"}}`)
		call(t, m, "POST", "/spend?n=60", "", "")
		get(t, p, hook+"profile")

		var s stats
		if err := json.Unmarshal(get(t, m, "/stats").Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if s.Arrived != 3 || s.Refused != 1 || s.Ran["crm.deal.add"] != 1 || s.Level != 50 || s.Burst != 50 || s.Rate != 2 || s.Seed != 3 {
			t.Errorf("got %+v, want 3 arrived, 1 refused, level 50 and the settings", s)
		}
		w := get(t, m, "/calls?method=CRM.deal.add&since=1&limit=5")
		var calls []shownCall
		if err := json.Unmarshal(w.Body.Bytes(), &calls); err != nil || len(calls) != 1 || !strings.Contains(calls[0].Body, "marker-1") || calls[0].Path != "/rest/1/***/crm.deal.add" {
			t.Errorf("got %s (%v), want one call with its body, the code masked", w.Body, err)
		}
		call(t, m, "POST", "/reset", "", "")
		if p.Arrived() != 0 || p.Level() != 0 || len(p.Calls()) != 0 {
			t.Errorf("after the reset: got %d arrived, level %d, %d calls, want none", p.Arrived(), p.Level(), len(p.Calls()))
		}
	})
}

// Faults can be replaced, added and removed while the portal runs. A wrong one
// changes nothing, and the answer says why.
func TestManageFaults(t *testing.T) {
	p := New(Config{})
	m := p.Management()
	for _, step := range []struct {
		verb, body string
		status     int
		want       string // in the answer
	}{
		{"PUT", "*:html:status=503\n\n", 200, "*:html:status=503\n"},
		{"POST", "crm.deal.add:reset-after:0.1\r\n", 200, "*:html:status=503\ncrm.deal.add:reset-after:0.1\n"},
		{"POST", "*:nonsense", 400, "want one of html"},
		{"GET", "", 200, "*:html:status=503\ncrm.deal.add:reset-after:0.1\n"},
		{"DELETE", "", 200, ""},
	} {
		w := call(t, m, step.verb, "/faults", "", step.body)
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.want) {
			t.Errorf("%s %s: got %d %s, want %d %s", step.verb, step.body, w.Code, w.Body, step.status, step.want)
		}
		if step.verb == "PUT" {
			if w := get(t, p, hook+"profile"); w.Code != 503 {
				t.Errorf("with the fault: got %d, want 503", w.Code)
			}
		}
	}
	if w := get(t, p, hook+"profile"); w.Code != 200 {
		t.Errorf("after DELETE: got %d, want 200", w.Code)
	}
}

// A change names only some settings. Until then the counter falls at the old rate.
// A wrong setting changes nothing, and the answer says what is allowed.
func TestManageConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Burst: 50, Rate: 10})
		m := p.Management()
		p.Spend(50)
		time.Sleep(2 * time.Second)
		w := call(t, m, "PUT", "/config", jsonType, `{"rate":1,"speed":10,"jitter":"60ms","operating":{"mode":"banning","charge":{"profile":"9s"}}}`)
		if c := p.Config(); w.Code != 200 || c.Burst != 50 || c.Rate != 1 || c.Speed != 10 || c.Jitter != 60*time.Millisecond ||
			c.Operating.Mode != OperatingBanning || c.Operating.Charge["profile"] != 9*time.Second {
			t.Errorf("got %d %s: %+v, want the new settings and the old burst", w.Code, w.Body, c)
		}
		if p.Level() != 30 {
			t.Errorf("got the level %d, want 30", p.Level())
		}
		time.Sleep(time.Second)
		if p.Level() != 20 {
			t.Errorf("got the level %d ten virtual seconds later, want 20", p.Level())
		}
		for body, want := range map[string]string{
			`{"rate":0}`:                   "want both at least 1",
			`{"speeed":2}`:                 "GET /config",
			`{"operating":{"mode":"odd"}}`: "documented or banning",
			`{"jitter":"soon"}`:            "GET /config",
			`{`:                            "GET /config",
		} {
			if w := call(t, m, "PUT", "/config", jsonType, body); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: got %d %s, want 400 and %q", body, w.Code, w.Body, want)
			}
		}
		if c := p.Config(); c.Rate != 1 || c.Speed != 10 {
			t.Errorf("got %+v, want the settings as before", c)
		}
		for _, target := range []string{"/spend?n=0", "/spend?n=many", "/spend"} {
			if w := call(t, m, "POST", target, "", ""); w.Code != 400 {
				t.Errorf("%s: got %d, want 400", target, w.Code)
			}
		}
	})
}

// The error of a wrong Config has every fault.
func TestValidate(t *testing.T) {
	err := Config{Burst: 50, Speed: -1, Jitter: -1, Latency: -1, Items: -1, UnknownToken: "odd", RenamedTo: "new.example.com",
		Operating: Operating{Mode: "odd"}, Faults: []Fault{{Kind: "odd"}}}.Validate()
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, want := range []string{"burst 50 and rate 0", "speed -1", "jitter", "latency", "items", "unknown-token", "renamed-to", "operating mode", "fault"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s in it", err, want)
		}
	}
	for plan, want := range map[string][2]int{"standard": {2, 50}, "enterprise": {5, 250}, "unlimited": {0, 0}, "10/100": {10, 100}} {
		t.Run(plan, func(t *testing.T) {
			if rate, burst, err := ParsePlan(plan); err != nil || rate != want[0] || burst != want[1] {
				t.Errorf("got %d/%d (%v), want %v", rate, burst, err, want)
			}
		})
	}
	for _, plan := range []string{"", "gold", "10", "0/5", "5/0", "a/b"} {
		if _, _, err := ParsePlan(plan); err == nil {
			t.Errorf("%q: got no error, want one", plan)
		}
	}
}
