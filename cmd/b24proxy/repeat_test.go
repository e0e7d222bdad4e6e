package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// slowly makes a write take nine virtual seconds, 900 ms of the fast portal.
const slowly = "crm.deal.add:slow=9s"

// leave calls, and leaves after 300 ms. It closes its connection itself, since
// http.Client does that some time after it has returned.
func leave(t *testing.T, url, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var conn net.Conn
	dial := func(ctx context.Context, network, address string) (c net.Conn, err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		conn = c
		return c, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	if a := callWith(ctx, client, "POST", url, body); a.err == nil {
		t.Errorf("got %v within 300 ms, want none", a)
	}
	if conn != nil {
		conn.Close()
	}
}

// wantReplayed fails the test unless the answer is the success of an earlier call.
func (a answer) wantReplayed(t *testing.T) {
	t.Helper()
	a.wantOK(t)
	if a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("got the header %v, want Idempotent-Replayed", a.header)
	}
}

// wantHeld fails the test unless the call was not sent, since its first may have run.
func (a answer) wantHeld(t *testing.T) {
	t.Helper()
	if read := a.json(t); a.status != 409 || read.Error != "CALL_MAY_HAVE_RUN" || read.Proxy.Reason != "repeat" || read.Proxy.Executed != "unknown" {
		t.Errorf("got %v, want 409 CALL_MAY_HAVE_RUN", a)
	}
}

func wantRan(t *testing.T, sim *b24sim.Portal, want int) {
	t.Helper()
	if ran := sim.Ran("crm.deal.add"); ran != want {
		t.Errorf("got %d deals, want %d", ran, want)
	}
}

// A caller who leaves after 300 ms of 900, and repeats its write at once, gets the
// answer of the first, and there is one deal. So do thirty, whose connections close
// while others come.
func TestCallerLeavesAndRepeats(t *testing.T) {
	t.Parallel()
	slow := fast
	slow.Faults = faults(t, slowly)
	sim, url := portal(t, slow)
	p := launch(t, "UPSTREAM="+url, "PLAN=unlimited")
	const callers = 30
	for _, a := range <-together(callers, func(i int) answer {
		body := fmt.Sprintf(`{"fields":{"TITLE":"%d"}}`, i)
		leave(t, p.clients+add, body)
		return call(t, "POST", p.clients+add, body)
	}) {
		a.wantReplayed(t)
	}
	wantRan(t, sim, callers)
	if n := p.metric("replays_total", `result="joined"`) + p.metric("replays_total", `result="replayed"`); n != callers {
		t.Errorf("got %v joined or replayed, want %d", n, callers)
	}
}

// A write whose answer was lost after it ran is not sent again for a client that repeats
// it, unless the client insists with an Idempotency-Key.
func TestClientRepeatsALostWrite(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, b24sim.Config{})
	p := launch(t, "UPSTREAM="+url)
	for _, fault := range []string{"reset-after", "cut", "truncated", "html:status=502:after", "empty:after"} {
		t.Run("the answer is lost by "+fault, func(t *testing.T) {
			sim.Reset()
			sim.SetFaults(faults(t, "*:"+fault)...)
			body := `{"fields":{"TITLE":"` + fault + `"}}`
			call(t, "POST", p.clients+add, body)
			for range 3 {
				call(t, "POST", p.clients+add, body).wantHeld(t)
			}
			wantRan(t, sim, 1)
			sim.SetFaults()
			call(t, "POST", p.clients+add, body, "Idempotency-Key", "insist "+fault).wantOK(t)
			wantRan(t, sim, 2)
		})
	}
}

// With a state file a call that a kill interrupted, and one whose answer was lost, may
// have run for the next process too. Without the file that forgets.
func TestKillDoesNotForgetWrites(t *testing.T) {
	for name, c := range map[string]struct {
		keep bool
		deal int
	}{"with a state file": {true, 2}, "without one": {false, 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := fast
			config.Faults = faults(t, "crm.deal.add:reset-after:first=1", slowly)
			sim, url := portal(t, config)
			settings := []string{"UPSTREAM=" + url}
			if c.keep {
				settings = append(settings, "STATE_FILE="+filepath.Join(t.TempDir(), "state"))
			}
			first := launch(t, settings...)
			call(t, "POST", first.clients+add, `{"lost":1}`)
			leave(t, first.clients+add, `{"under way":1}`)
			first.signal(syscall.SIGKILL)
			first.wait()
			second := launch(t, settings...)
			for _, body := range []string{`{"lost":1}`, `{"under way":1}`} {
				if a := call(t, "POST", second.clients+add, body); c.keep {
					a.wantHeld(t)
				} else {
					a.wantOK(t)
				}
			}
			call(t, "POST", second.clients+hook+"/crm.lead.add", `{"under way":1}`).wantOK(t)
			wantRan(t, sim, c.deal)
		})
	}
}

// The guard can be turned off, and observes where the proxy does.
func TestGuardIsOff(t *testing.T) {
	for _, setting := range []string{"REPEAT_GUARD=0s", "MODE=observe"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			sim, url := portal(t, b24sim.Config{Faults: faults(t, "*:html:after")})
			p := launch(t, "UPSTREAM="+url, setting)
			for range 3 {
				if a := call(t, "POST", p.clients+add, "{}"); a.status != 500 {
					t.Errorf("got %v, want 500", a)
				}
			}
			wantRan(t, sim, 3)
			if n := p.metric("replays_total", `result="held"`); n != map[string]float64{"MODE=observe": 2}[setting] {
				t.Errorf("got %v held, want 2 with MODE=observe, else 0", n)
			}
		})
	}
}
