package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// With B24PROXY_AUTOBATCH=reads the binary sends reads that wait in batches, and shows
// nothing of the webhook that it writes into them.
func TestAutobatch(t *testing.T) {
	sim, upstream := portal(t, fast)
	p := launch(t, "UPSTREAM="+upstream, fastPlan, "AUTOBATCH=reads", "LOG_LEVEL=debug", "LOG_CALLS=all", "PPROF=true")
	var calls sync.WaitGroup
	for i := range 400 {
		calls.Go(func() {
			a := call(t, "GET", fmt.Sprintf("%s/rest/1/s3cretcode/crm.deal.get?id=%d", p.clients, i+1), "")
			if want := fmt.Sprintf(`{"ID":"%d","TITLE":"Item %d"}`, i+1, i+1); a.status != 200 || !strings.Contains(string(a.body), want) {
				t.Errorf("got %d %s, want 200 with %s", a.status, a.body, want)
			}
		})
	}
	calls.Wait()
	if sim.Arrived() > 200 || sim.Refused() > 0 {
		t.Errorf("got %d requests at the portal, %d refused, want at most 200 and none", sim.Arrived(), sim.Refused())
	}
	page := string(call(t, "GET", p.admin+"/?open="+strings.TrimPrefix(upstream, "http://"), "").body)
	if !strings.Contains(p.shown(), "b24proxy_autobatch_batches_total{") || !strings.Contains(page, "Sent together") {
		t.Error("got no batches in the metrics or on the page, want them")
	}
	checkLeaks(t, p)
}
