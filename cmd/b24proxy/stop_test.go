package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"b24proxy/proxy/b24sim"
)

// Told to stop with 200 calls open, some at a slow portal and most in the
// queue, the program answers all that are open, refuses those who come later in
// an answer, and ends with 0 in the drain time.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		signal   os.Signal
		slow     string        // virtual time of each call
		drain    time.Duration // real
		answered map[string]int
	}{
		{"SIGTERM, and time enough for all", syscall.SIGTERM, "5s", 30 * time.Second, map[string]int{"200 ": 200}},
		{"SIGINT, and time enough for all", os.Interrupt, "5s", 30 * time.Second, map[string]int{"200 ": 200}},
		{"SIGTERM, and too little time for the queue", syscall.SIGTERM, "1s", 5 * time.Second, map[string]int{"200 ": 49, "503 draining": 1}},
		{"SIGTERM, and too little time for the portal", syscall.SIGTERM, "5m", 3 * time.Second, map[string]int{"500 draining": 49, "503 draining": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sim, url := portal(t, b24sim.Config{Speed: 10, Faults: faults(t, "*:slow="+c.slow)})
			p := launch(t, "UPSTREAM="+url, fastPlan, "DRAIN_TIMEOUT="+c.drain.String())
			open := together(200, func(int) answer { return call(t, "POST", p.clients+add, "{}") })
			eventually(t, "200 calls are open", func() bool {
				return float64(sim.Arrived())+p.metric("queue_depth") >= 200
			})
			began := time.Now()
			p.signal(c.signal)
			eventually(t, "it drains", func() bool { return call(t, "GET", p.admin+"/readyz", "").status == 503 })
			late := call(t, "POST", p.clients+add, "{}")
			if e := late.told(t); late.status != 503 || e.Proxy.Reason != "draining" || e.Proxy.Executed != "no" || late.header.Get("Retry-After") == "" {
				t.Errorf("a late call: %d %s %v", late.status, late.body, late.header)
			}
			got := make(map[string]int)
			for _, a := range <-open {
				e := a.told(t)
				reason := e.Proxy.Reason
				if a.status == 503 && (e.Proxy.Executed != "no" || a.header.Get("Retry-After") == "") ||
					a.status == 500 && (e.Proxy.Executed != "unknown" || e.Error != "ERROR_UNEXPECTED_ANSWER") {
					t.Errorf("%d %s %v", a.status, a.body, a.header)
				}
				if a.status == 500 && portalTime(t, a.header) < 200*time.Millisecond { // between 7 and 8 tenths of the drain
					t.Errorf("the call was longer at the portal than %v", a.header["Server-Timing"])
				}
				switch a.status {
				case 200:
					got["200 "]++
				case 500:
					got["500 "+reason]++
				default:
					got["503 "+reason]++
				}
			}
			if code := p.wait(); code != 0 {
				t.Errorf("exit %d", code)
			}
			if took := time.Since(began); took > c.drain+time.Second {
				t.Errorf("ended after %v", took)
			}
			sum := 0
			for what, least := range c.answered {
				sum += got[what]
				if got[what] < least {
					t.Errorf("%d answers %q, want at least %d", got[what], what, least)
				}
			}
			if sum != 200 {
				t.Errorf("answers %v, want 200 of %v", got, c.answered)
			}
		})
	}
}

// portalTime is how long a call was at its portal.
func portalTime(t *testing.T, h http.Header) time.Duration {
	_, after, _ := strings.Cut(h.Get("Server-Timing"), "portal;dur=")
	ms, err := strconv.ParseFloat(after, 64)
	if err != nil {
		t.Error(h["Server-Timing"], err)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// SIGHUP ends nothing: the log says that it is ignored, and the program serves
// on. The lines of start and stop say what was set, and why it ended.
func TestHangup(t *testing.T) {
	t.Parallel()
	_, url := portal(t, b24sim.Config{})
	state := filepath.Join(t.TempDir(), "state")
	p := launch(t, "UPSTREAM="+url, "PLAN=enterprise", "MODE=observe", "STATE_FILE="+state, "PORTALS=acme.bitrix24.com,*.example.org")
	for range 2 {
		p.signal(syscall.SIGHUP)
		eventually(t, "the signal is logged", func() bool { return strings.Contains(p.logged(), "SIGHUP is ignored") })
	}
	if a := call(t, "POST", p.clients+add, "{}"); a.status != 200 {
		t.Errorf("%d %s %v", a.status, a.body, a.err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
	for line := range strings.Lines(p.logged()) {
		if !strings.Contains(line, "msg=serving") && !strings.Contains(line, "msg=stop") {
			continue
		}
		for _, want := range []string{"version=v1.2.3", "mode=observe", "plan=enterprise", "portals=acme.bitrix24.com,*.example.org", "upstream=" + url, "state_file=" + state} {
			if !strings.Contains(line, want) {
				t.Errorf("%s lacks in %s", want, line)
			}
		}
		if strings.Contains(line, "msg=stop") && !strings.Contains(line, `reason="terminated signal received"`) {
			t.Errorf("no reason in %s", line)
		}
		if strings.Contains(line, "msg=stopped") && !strings.Contains(line, " after=") {
			t.Errorf("no time in %s", line)
		}
	}
	if n := strings.Count(p.logged(), "msg=stop"); n != 2 {
		t.Errorf("%d lines of the stop in\n%s", n, p.logged())
	}
}

// While it drains, /readyz says so and /healthz does not.
func TestReadyUntilStop(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, b24sim.Config{Faults: faults(t, "*:slow=2s")})
	p := launch(t, "UPSTREAM="+url)
	ask := func(path string) int { return call(t, "GET", p.admin+path, "").status }
	if ask("/readyz") != 200 || ask("/healthz") != 200 {
		t.Error("not ready after the start")
	}
	open := together(1, func(int) answer { return call(t, "POST", p.clients+add, "{}") })
	eventually(t, "the call is at the portal", func() bool { return sim.Arrived() == 1 })
	p.signal(syscall.SIGTERM)
	eventually(t, "it is not ready", func() bool { return ask("/readyz") == 503 })
	if ask("/healthz") != 200 {
		t.Error("not healthy while draining")
	}
	if a := (<-open)[0]; a.status != 200 {
		t.Errorf("%d %s %v", a.status, a.body, a.err)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// An address that is taken ends the start with 1 and a line that names it; two
// are named at once.
func TestBusyAddress(t *testing.T) {
	t.Parallel()
	var busy [2]string
	for i := range busy {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		busy[i] = l.Addr().String()
	}
	for _, c := range []struct {
		settings []string
		named    []string
	}{
		{[]string{"LISTEN=" + busy[0]}, busy[:1]},
		{[]string{"ADMIN_LISTEN=" + busy[1]}, busy[1:]},
		{[]string{"LISTEN=" + busy[0], "ADMIN_LISTEN=" + busy[1]}, busy[:]},
	} {
		p := launch(t, c.settings...)
		if code := p.wait(); code != 1 {
			t.Errorf("%v: exit %d", c.settings, code)
		}
		for _, address := range c.named {
			if log := p.logged(); !strings.Contains(log, address) || !strings.Contains(log, "in use") {
				t.Errorf("%v: %q does not name %s", c.settings, log, address)
			}
		}
	}
}

// A connection on which no call was made does not keep the program from ending
// well, nor one that says nothing more.
func TestStopWithSilentConnections(t *testing.T) {
	t.Parallel()
	_, url := portal(t, fast)
	p := launch(t, "UPSTREAM="+url, "DRAIN_TIMEOUT=1s")
	address := strings.TrimPrefix(p.clients, "http://")
	for _, begin := range []string{"", "POST /rest/"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
	}
	call(t, "GET", p.clients+hook+"/user.current", "")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
