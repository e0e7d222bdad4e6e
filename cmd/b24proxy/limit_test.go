package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// 200 calls at once, four times what the portal takes: it refuses none, and
// none fails.
func TestLimitIsKept(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, fastPlan)
	began := time.Now()
	for i, a := range <-together(200, func(int) answer { return call(t, "POST", p.clients+add, `{"fields":{"TITLE":"x"}}`) }) {
		if e := a.told(t); a.status != 200 || e.Result == nil {
			t.Errorf("call %d: %d %s", i, a.status, a.body)
		}
	}
	took := time.Since(began)
	if sim.Refused() != 0 || sim.Ran("crm.deal.add") != 200 || sim.Arrived() != 200 {
		t.Errorf("the portal refused %d of %d, ran %d", sim.Refused(), sim.Arrived(), sim.Ran("crm.deal.add"))
	}
	if ok := p.metric("requests_total", `outcome="ok"`, `status_class="2xx"`); ok != 200 {
		t.Errorf("requests_total says %v", ok)
	}
	t.Logf("took %.2f s, the least is 7.5 s", took.Seconds())
}

// 300 queued callers hang up, half of them after having sent a body: the portal
// sees none of their calls, and the next caller has the next slot.
func TestQueuedCallersHangUp(t *testing.T) {
	t.Parallel()
	const slot = 10 * time.Second // time enough for 300 callers to come and go
	sim, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url, "PLAN=0.1/3", "QUEUE_WAIT=1h")
	for range 3 {
		if a := call(t, "POST", p.clients+hook+"/profile", ""); a.status != 200 {
			t.Fatalf("%d %s %v", a.status, a.body, a.err)
		}
	}
	full := time.Now()
	ctx, hangUp := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	gone := together(300, func(i int) answer {
		if i%2 == 0 {
			return callWith(ctx, client, "GET", p.clients+hook+"/crm.deal.list", "")
		}
		return callWith(ctx, client, "POST", p.clients+add, `{"fields":{"TITLE":"x"}}`)
	})
	eventually(t, "300 callers wait", func() bool { return p.metric("queue_depth") == 300 })
	hangUp()
	for _, a := range <-gone {
		if a.err == nil {
			t.Errorf("a caller who hung up was answered: %d %s", a.status, a.body)
		}
	}
	if a := call(t, "POST", p.clients+hook+"/user.current", ""); a.status != 200 {
		t.Errorf("the next caller: %d %s %v", a.status, a.body, a.err)
	}
	if waited := time.Since(full); waited > slot+5*time.Second {
		t.Errorf("the next caller was served %v after the bucket was full; the next slot came after %v", waited, slot)
	}
	for _, c := range sim.Calls()[3:] {
		if c.Method != "user.current" {
			t.Errorf("the portal saw the call of a caller who had gone: %v", c)
		}
	}
	if n := p.metric("queue_abandoned_total"); n != 300 {
		t.Errorf("queue_abandoned_total is %v", n)
	}
	if n := p.metric("requests_total", `outcome="abandoned"`); n != 300 {
		t.Errorf("requests_total says that %v were abandoned", n)
	}
}

// A write whose answer was lost ran once and is not sent again; the caller is
// told that its fate is unknown.
func TestLostWriteIsNotRepeated(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url)
	for _, fault := range []string{"reset-after", "cut", "truncated", "html:status=502:after", "empty:after"} {
		sim.Reset()
		sim.SetFaults(faults(t, "*:"+fault)...)
		a := call(t, "POST", p.clients+add, `{"fields":{"TITLE":"x"}}`)
		if e := a.told(t); a.status != 500 || e.Error != "ERROR_UNEXPECTED_ANSWER" || e.Proxy.Executed != "unknown" {
			t.Errorf("%s: %d %s", fault, a.status, a.body)
		}
		if sim.Ran("crm.deal.add") != 1 || sim.Arrived() != 1 {
			t.Errorf("%s: ran %d times, arrived %d times", fault, sim.Ran("crm.deal.add"), sim.Arrived())
		}
	}
	if n := p.metric("resends_total"); n != 0 {
		t.Errorf("resends_total is %v", n)
	}
}

// A write that the portal refused, since a stranger had spent its limit, is
// sent again and runs exactly once.
func TestRefusedWriteRunsOnce(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, fastPlan)
	for i := range 5 {
		sim.Spend(50 - sim.Level())
		a := call(t, "POST", p.clients+add, `{"fields":{"TITLE":"x"}}`)
		if a.status != 200 || sim.Ran("crm.deal.add") != i+1 {
			t.Errorf("%d %s, ran %d times", a.status, a.body, sim.Ran("crm.deal.add"))
		}
	}
	if sim.Refused() == 0 || p.metric("resends_total", `reason="refused"`) != float64(sim.Refused()) {
		t.Errorf("refused %d times, sent again %v times", sim.Refused(), p.metric("resends_total"))
	}
}
