package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// Of 200 calls at once, four times the portal's burst, the portal refuses none,
// and all succeed.
func TestLimitIsKept(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, fastPlan)
	began := time.Now()
	for i, a := range <-together(200, func(int) answer { return call(t, "POST", p.clients+add, `{"fields":{"TITLE":"x"}}`) }) {
		if read := a.json(t); a.status != 200 || read.Result == nil {
			t.Errorf("call %d: got %v, want 200 and a result", i, a)
		}
	}
	took := time.Since(began)
	if sim.Refused() != 0 || sim.Ran("crm.deal.add") != 200 || sim.Arrived() != 200 {
		t.Errorf("got %d calls at the portal, %d refused, %d run, want 200, 0, 200", sim.Arrived(), sim.Refused(), sim.Ran("crm.deal.add"))
	}
	if ok := p.metric("requests_total", `outcome="ok"`, `status_class="2xx"`); ok != 200 {
		t.Errorf("got requests_total %v, want 200", ok)
	}
	t.Logf("took %.2f s, the least is 7.5 s", took.Seconds())
}

// When 300 queued callers hang up, half of them after they sent a body, the
// portal sees none of their calls, and the next caller gets the next slot.
func TestQueuedCallersHangUp(t *testing.T) {
	t.Parallel()
	const slot = 10 * time.Second // enough for 300 callers to come and go
	sim, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url, "PLAN=0.1/3", "QUEUE_WAIT=1h")
	for range 3 {
		call(t, "POST", p.clients+hook+"/profile", "").wantOK(t)
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
			t.Errorf("a caller who hung up: got %v, want no answer", a)
		}
	}
	call(t, "POST", p.clients+hook+"/user.current", "").wantOK(t)
	if waited := time.Since(full); waited > slot+5*time.Second {
		t.Errorf("the next caller got an answer %v after the bucket was full, want it after the next slot (%v)", waited, slot)
	}
	for _, c := range sim.Calls()[3:] {
		if c.Method != "user.current" {
			t.Errorf("the portal saw %v, a call of a caller who had hung up", c)
		}
	}
	if n := p.metric("queue_abandoned_total"); n != 300 {
		t.Errorf("got queue_abandoned_total %v, want 300", n)
	}
	if n := p.metric("requests_total", `outcome="abandoned"`); n != 300 {
		t.Errorf("got %v abandoned calls in requests_total, want 300", n)
	}
}

// A write whose answer was lost ran once and is not sent again; its caller reads
// that it may have run.
func TestLostWriteIsNotRepeated(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url)
	for _, fault := range []string{"reset-after", "cut", "truncated", "html:status=502:after", "empty:after"} {
		t.Run("the answer is lost by "+fault, func(t *testing.T) {
			sim.Reset()
			sim.SetFaults(faults(t, "*:"+fault)...)
			a := call(t, "POST", p.clients+add, `{"fields":{"TITLE":"`+fault+`"}}`)
			if read := a.json(t); a.status != 500 || read.Error != "ERROR_UNEXPECTED_ANSWER" || read.Proxy.Executed != "unknown" {
				t.Errorf("got %v, want 500 ERROR_UNEXPECTED_ANSWER, executed unknown", a)
			}
			if sim.Ran("crm.deal.add") != 1 || sim.Arrived() != 1 {
				t.Errorf("got %d arrived and %d run, want 1 and 1", sim.Arrived(), sim.Ran("crm.deal.add"))
			}
		})
	}
	if n := p.metric("resends_total"); n != 0 {
		t.Errorf("got resends_total %v, want 0", n)
	}
}

// A write that the portal refused, because another program had used up the
// limit, is sent again and runs exactly once.
func TestRefusedWriteRunsOnce(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, fastPlan)
	for i := range 5 {
		sim.Spend(50 - sim.Level())
		call(t, "POST", p.clients+add, `{"fields":{"TITLE":"x"}}`).wantOK(t)
		if ran := sim.Ran("crm.deal.add"); ran != i+1 {
			t.Errorf("got %d runs after %d calls, want one each", ran, i+1)
		}
	}
	if sim.Refused() == 0 || p.metric("resends_total", `reason="refused"`) != float64(sim.Refused()) {
		t.Errorf("got %v calls sent again, want one for each of %d refusals, and some", p.metric("resends_total"), sim.Refused())
	}
}
