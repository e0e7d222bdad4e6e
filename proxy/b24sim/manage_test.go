package b24sim

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Everything that a test can ask of a Portal, others can ask over HTTP.
func TestManagement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Burst: 50, Rate: 2, Seed: 3})
		m := p.Management()
		if w := get(t, m, "/"); w.Code != 200 || !strings.Contains(w.Body.String(), "POST   /spend") {
			t.Errorf("manual: %d %s", w.Code, w.Body)
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
			t.Errorf("%+v", s)
		}
		w := get(t, m, "/calls?method=CRM.deal.add&since=1&limit=5")
		var calls []shownCall
		if err := json.Unmarshal(w.Body.Bytes(), &calls); err != nil || len(calls) != 1 || !strings.Contains(calls[0].Body, "marker-1") || calls[0].Path != "/rest/1/***/crm.deal.add" {
			t.Errorf("%s, %v", w.Body, err)
		}
		call(t, m, "POST", "/reset", "", "")
		if p.Arrived() != 0 || p.Level() != 0 || len(p.Calls()) != 0 {
			t.Error("reset left something")
		}
	})
}

// Faults are replaced, added and taken away while the portal runs; a wrong one
// changes nothing and says why.
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
			t.Errorf("%s %s: %d %s", step.verb, step.body, w.Code, w.Body)
		}
		if step.verb == "PUT" {
			if w := get(t, p, hook+"profile"); w.Code != 503 {
				t.Errorf("the fault does not strike: %d", w.Code)
			}
		}
	}
	if w := get(t, p, hook+"profile"); w.Code != 200 {
		t.Errorf("after DELETE: %d", w.Code)
	}
}

// Settings change in part; what fell until then fell at the old rate, and a
// wrong setting changes nothing and says what is allowed.
func TestManageConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Burst: 50, Rate: 10})
		m := p.Management()
		p.Spend(50)
		time.Sleep(2 * time.Second)
		w := call(t, m, "PUT", "/config", jsonType, `{"rate":1,"speed":10,"jitter":"60ms","operating":{"mode":"banning","charge":{"profile":"9s"}}}`)
		if c := p.Config(); w.Code != 200 || c.Burst != 50 || c.Rate != 1 || c.Speed != 10 || c.Jitter != 60*time.Millisecond ||
			c.Operating.Mode != OperatingBanning || c.Operating.Charge["profile"] != 9*time.Second {
			t.Errorf("%d %s: %+v", w.Code, w.Body, c)
		}
		if p.Level() != 30 {
			t.Errorf("level %d, want 30", p.Level())
		}
		time.Sleep(time.Second)
		if p.Level() != 20 {
			t.Errorf("level %d ten virtual seconds later, want 20", p.Level())
		}
		for body, want := range map[string]string{
			`{"rate":0}`:                   "want both at least 1",
			`{"speeed":2}`:                 "GET /config",
			`{"operating":{"mode":"odd"}}`: "documented or banning",
			`{"jitter":"soon"}`:            "GET /config",
			`{`:                            "GET /config",
		} {
			if w := call(t, m, "PUT", "/config", jsonType, body); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
		if c := p.Config(); c.Rate != 1 || c.Speed != 10 {
			t.Errorf("%+v", c)
		}
		for _, target := range []string{"/spend?n=0", "/spend?n=many", "/spend"} {
			if w := call(t, m, "POST", target, "", ""); w.Code != 400 {
				t.Errorf("%s: %d", target, w.Code)
			}
		}
	})
}

// A Config that makes no sense is refused with every fault at once.
func TestValidate(t *testing.T) {
	err := Config{Burst: 50, Speed: -1, Jitter: -1, Latency: -1, Items: -1, UnknownToken: "odd", RenamedTo: "new.example.com",
		Operating: Operating{Mode: "odd"}, Faults: []Fault{{Kind: "odd"}}}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"burst 50 and rate 0", "speed -1", "jitter", "latency", "items", "unknown-token", "renamed-to", "operating mode", "fault"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %s", err, want)
		}
	}
	for plan, want := range map[string][2]int{"standard": {2, 50}, "enterprise": {5, 250}, "unlimited": {0, 0}, "10/100": {10, 100}} {
		if rate, burst, err := ParsePlan(plan); err != nil || rate != want[0] || burst != want[1] {
			t.Errorf("%s: %d/%d, %v", plan, rate, burst, err)
		}
	}
	for _, plan := range []string{"", "gold", "10", "0/5", "5/0", "a/b"} {
		if _, _, err := ParsePlan(plan); err == nil {
			t.Errorf("%q was taken", plan)
		}
	}
}
