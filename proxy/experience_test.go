package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/bitrix24"
	"b24proxy/proxy/joining"
)

// A read that was slow when it was sent alone is not joined with others later.
func TestSlowReadsStayAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		portal.single = func(string) (int, string) {
			return 200, strings.ReplaceAll(`{"result":1,"time":`+spentTime+`}`, `"processing":0.1`, `"processing":1.5`)
		}
		p := joiningProxy(t, nil).behind(portal)
		p.together(1, numbered)
		p.together(4, numbered)
		if got := fmt.Sprint(portal.sizes()); strings.Trim(got, "[1 ]") != "" {
			t.Errorf("got requests of %s reads, want one each", got)
		}
	})
}

// A proxy whose reads never travel together keeps nothing of how long they take.
func TestPaceIsKeptWhenNeeded(t *testing.T) {
	x := newExperience()
	to := route{portal: "acme.bitrix24.com", call: bitrix24.ParseCall("/rest/crm.deal.list")}
	isSlow := func() bool { return x.pace.Slow(joining.Key{Portal: to.portal, Method: to.call.Method}) }
	if x.took(to, time.Minute); isSlow() {
		t.Error("got a pace that nobody needs, want none")
	}
	x.isNeeded.Store(true)
	if x.took(to, time.Minute); !isSlow() {
		t.Error("got no pace, want that of the last read")
	}
}
