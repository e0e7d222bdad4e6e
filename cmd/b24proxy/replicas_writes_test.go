package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"b24proxy/limiter/storetest"
	"b24proxy/proxy/b24sim"
)

// A write that its client repeats at another replica runs once, whatever became of the
// first one, and of its replica.
func TestWriteIsRepeatedAtAnotherReplica(t *testing.T) {
	for name, play := range map[string]func(t *testing.T, sim *b24sim.Portal, a, b *process){
		"the replica is killed while the portal works": func(t *testing.T, sim *b24sim.Portal, a, b *process) {
			go call(t, "POST", a.clients+add, "{}")
			eventually(t, "the call is with the portal", func() bool { return sim.Arrived() == 1 })
			a.cmd.Process.Kill()
			if again := call(t, "POST", b.clients+add, "{}"); again.status != 409 || again.json(t).Error != "CALL_MAY_HAVE_RUN" {
				t.Errorf("got %v, want 409 CALL_MAY_HAVE_RUN", again)
			}
		},
		"its client has left": func(t *testing.T, sim *b24sim.Portal, a, b *process) {
			ctx, leave := context.WithCancel(t.Context())
			go callWith(ctx, http.DefaultClient, "POST", a.clients+add, "{}")
			eventually(t, "the call is with the portal", func() bool { return sim.Arrived() == 1 })
			leave()
			again := call(t, "POST", b.clients+add, "{}")
			again.wantOK(t)
			if again.header.Get("Idempotent-Replayed") != "true" {
				t.Errorf("got %v, want the answer of the first", again.header)
			}
		},
		"both come at once, with one key": func(t *testing.T, _ *b24sim.Portal, a, b *process) {
			for _, got := range <-together(20, func(i int) answer {
				return call(t, "POST", []*process{a, b}[i%2].clients+add, "{}", "Idempotency-Key", "k")
			}) {
				got.wantOK(t)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := storetest.StartRedis(t)
			sim, upstream := portal(t, b24sim.Config{Rate: 2, Burst: 50, Faults: faults(t, "crm.deal.add:slow=2s")})
			settings := []string{"UPSTREAM=" + upstream, "EGRESS_ID=office", "REDIS_URL=" + redis.URL}
			a, b := launch(t, settings...), launch(t, settings...)
			play(t, sim, a, b)
			if ran := sim.Ran("crm.deal.add"); ran > 1 {
				t.Errorf("it ran %d times, want once", ran)
			}
			if t.Failed() && strings.Contains(a.logged()+b.logged(), "the shared store is away") {
				t.Log("the machine is too busy: Redis did not answer for a second")
			}
		})
	}
}
