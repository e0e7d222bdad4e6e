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

// When the program must stop with 200 calls open, some at a slow portal and most
// in the queue, it answers all of them, answers later calls with a refusal, and
// exits with 0 within the drain time.
func TestStop(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		signal os.Signal
		slow   string         // virtual time of each call
		drain  time.Duration  // real
		least  map[string]int // answers, at least so many of each kind
	}{
		{"SIGTERM with enough time for all", syscall.SIGTERM, "5s", 30 * time.Second, map[string]int{"200 ": 200}},
		{"SIGINT with enough time for all", os.Interrupt, "5s", 30 * time.Second, map[string]int{"200 ": 200}},
		{"SIGTERM with too little time for the queue", syscall.SIGTERM, "1s", 5 * time.Second, map[string]int{"200 ": 49, "503 draining": 1}},
		{"SIGTERM with too little time for the portal", syscall.SIGTERM, "5m", 3 * time.Second, map[string]int{"500 draining": 49, "503 draining": 1}},
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
			if kind := checkDrained(t, late); kind != "503 draining" {
				t.Errorf("a late call: got %v, want 503 draining", late)
			}
			got := make(map[string]int)
			for _, a := range <-open {
				got[checkDrained(t, a)]++
			}
			if code := p.wait(); code != 0 {
				t.Errorf("got exit code %d, want 0", code)
			}
			if took := time.Since(began); took > c.drain+time.Second {
				t.Errorf("it ended after %v, want at most %v and a second", took, c.drain)
			}
			sum := 0
			for kind, least := range c.least {
				sum += got[kind]
				if got[kind] < least {
					t.Errorf("got %d answers %q, want at least %d", got[kind], kind, least)
				}
			}
			if sum != 200 {
				t.Errorf("got the answers %v, want 200 of the kinds %v", got, c.least)
			}
		})
	}
}

// checkDrained checks what an answer during a drain says of whether the call
// ran, and returns its status and reason.
func checkDrained(t *testing.T, a answer) (kind string) {
	t.Helper()
	read := a.json(t)
	switch a.status {
	case 503:
		if read.Proxy.Executed != "no" || a.header.Get("Retry-After") == "" {
			t.Errorf("got %v with the header %v, want executed no and Retry-After", a, a.header)
		}
	case 500:
		if read.Proxy.Executed != "unknown" || read.Error != "ERROR_UNEXPECTED_ANSWER" {
			t.Errorf("got %v, want ERROR_UNEXPECTED_ANSWER, executed unknown", a)
		}
		// The proxy gives up on portals after 8 tenths of 3 s.
		if portalTime(t, a.header) < 200*time.Millisecond {
			t.Errorf("got Server-Timing %v, want the time at the portal", a.header["Server-Timing"])
		}
	}
	return strconv.Itoa(a.status) + " " + read.Proxy.Reason
}

// portalTime returns how long a call was at its portal.
func portalTime(t *testing.T, h http.Header) time.Duration {
	t.Helper()
	_, after, _ := strings.Cut(h.Get("Server-Timing"), "portal;dur=")
	ms, err := strconv.ParseFloat(after, 64)
	if err != nil {
		t.Errorf("got Server-Timing %v (%v), want the portal's duration", h["Server-Timing"], err)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// The program ignores SIGHUP, logs that, and goes on. Its log lines of the start
// and the stop have the settings, and those of the stop the reason.
func TestHangup(t *testing.T) {
	t.Parallel()
	_, url := portal(t, b24sim.Config{})
	state := filepath.Join(t.TempDir(), "state")
	p := launch(t, "UPSTREAM="+url, "PLAN=enterprise", "MODE=observe", "STATE_FILE="+state, "PORTALS=acme.bitrix24.com,*.example.org")
	for range 2 {
		p.signal(syscall.SIGHUP)
		eventually(t, "the signal is logged", func() bool { return strings.Contains(p.logged(), "SIGHUP is ignored") })
	}
	call(t, "POST", p.clients+add, "{}").wantOK(t)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	for line := range strings.Lines(p.logged()) {
		if !strings.Contains(line, "msg=serving") && !strings.Contains(line, "msg=stop") {
			continue
		}
		for _, want := range []string{"version=v1.2.3", "mode=observe", "plan=enterprise", "portals=acme.bitrix24.com,*.example.org", "upstream=" + url, "state_file=" + state} {
			if !strings.Contains(line, want) {
				t.Errorf("got %s, want %s in it", line, want)
			}
		}
		if strings.Contains(line, "msg=stop") && !strings.Contains(line, `reason="terminated signal received"`) {
			t.Errorf("got %s, want a reason in it", line)
		}
		if strings.Contains(line, "msg=stopped") && !strings.Contains(line, " after=") {
			t.Errorf("got %s, want a time in it", line)
		}
	}
	if n := strings.Count(p.logged(), "msg=stop"); n != 2 {
		t.Errorf("got %d lines of the stop, want 2, in\n%s", n, p.logged())
	}
}

// While the program drains, /readyz answers 503 and /healthz 200.
func TestReadyUntilStop(t *testing.T) {
	t.Parallel()
	sim, url := portal(t, b24sim.Config{Faults: faults(t, "*:slow=2s")})
	p := launch(t, "UPSTREAM="+url)
	ask := func(path string) int { return call(t, "GET", p.admin+path, "").status }
	if ready, healthy := ask("/readyz"), ask("/healthz"); ready != 200 || healthy != 200 {
		t.Errorf("after the start: got /readyz %d and /healthz %d, want 200", ready, healthy)
	}
	open := together(1, func(int) answer { return call(t, "POST", p.clients+add, "{}") })
	eventually(t, "the call is at the portal", func() bool { return sim.Arrived() == 1 })
	p.signal(syscall.SIGTERM)
	eventually(t, "it is not ready", func() bool { return ask("/readyz") == 503 })
	if healthy := ask("/healthz"); healthy != 200 {
		t.Errorf("while it drains: got /healthz %d, want 200", healthy)
	}
	(<-open)[0].wantOK(t)
	if code := p.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// The program exits with 1 and names the address when an address is in use; it
// names two at once.
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
		name     string
		settings []string
		named    []string
	}{
		{"the clients' address is in use", []string{"LISTEN=" + busy[0]}, busy[:1]},
		{"the admin address is in use", []string{"ADMIN_LISTEN=" + busy[1]}, busy[1:]},
		{"both addresses are in use", []string{"LISTEN=" + busy[0], "ADMIN_LISTEN=" + busy[1]}, busy[:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := launch(t, c.settings...)
			if code := p.wait(); code != 1 {
				t.Errorf("got exit code %d, want 1", code)
			}
			for _, address := range c.named {
				if log := p.logged(); !strings.Contains(log, address) || !strings.Contains(log, "in use") {
					t.Errorf("got the log %q, want %s in it", log, address)
				}
			}
		})
	}
}

// A connection without a call does not keep the program from exiting with 0, nor
// does one that stops in the middle of a request.
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
		t.Errorf("got exit code %d, want 0", code)
	}
}
