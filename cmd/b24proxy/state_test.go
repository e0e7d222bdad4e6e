package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"b24proxy/proxy/b24sim"
)

// With a state file, a new process knows what the one before it has used of the
// limit, so the portal refuses nothing after a stop or a kill in the middle of a
// burst. Without the file the portal refuses, and callers do not notice.
func TestBucketsOutliveTheProgram(t *testing.T) {
	for name, c := range map[string]struct {
		signal  os.Signal
		keep    bool
		refuses bool
	}{
		"it is killed and has a state file":  {syscall.SIGKILL, true, false},
		"it is stopped and has a state file": {syscall.SIGTERM, true, false},
		"it is killed and has no state file": {syscall.SIGKILL, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, upstream := portal(t, fast)
			settings := []string{"UPSTREAM=" + upstream, fastPlan, "QUEUE_WAIT=1m", "DRAIN_TIMEOUT=2s"}
			if c.keep {
				settings = append(settings, "STATE_FILE="+filepath.Join(t.TempDir(), "state"))
			}
			first := launch(t, settings...)
			answers := together(100, func(int) answer { return call(t, "POST", first.clients+add, "{}") })
			eventually(t, "the burst has begun", func() bool { return sim.Arrived() >= 30 })
			first.signal(c.signal)
			first.wait()
			<-answers

			second := launch(t, settings...)
			for _, a := range <-together(60, func(i int) answer { return call(t, "POST", second.clients+add, fmt.Sprintf(`{"call":%d}`, i)) }) {
				a.wantOK(t)
			}
			if refused := sim.Refused(); c.refuses != (refused > 0) {
				t.Errorf("got %d refused calls, want some: %v", refused, c.refuses)
			}
		})
	}
}

// The program sets aside a file that is not a state file, and serves. A second
// program with the same file does not start.
func TestStateFileOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "STATE_FILE="+path)
	if code := call(t, "GET", p.admin+"/readyz", "").status; code != 200 {
		t.Errorf("got /readyz %d, want 200", code)
	}
	if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
		t.Errorf("got the files %v, want one that was set aside", aside)
	}
	if code := launch(t, "STATE_FILE="+path).wait(); code != 1 {
		t.Errorf("the second program: got exit code %d, want 1", code)
	}
}

// A webhook without a name has the same short id after a restart with the state file.
// Without the file it has another, and /status says so.
func TestCredentialsKeepTheirIDs(t *testing.T) {
	for name, c := range map[string]struct{ keep bool }{"with a state file": {true}, "without one": {false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, upstream := portal(t, b24sim.Config{})
			settings := []string{"UPSTREAM=" + upstream}
			if c.keep {
				settings = append(settings, "STATE_FILE="+filepath.Join(t.TempDir(), "state"))
			}
			var clients []string
			for range 2 {
				p := launch(t, settings...)
				call(t, "POST", p.clients+add, "{}").wantOK(t)
				if keeps := p.status().Store.Keeps; keeps != c.keep {
					t.Errorf("/status says that ids are kept: %v, want %v", keeps, c.keep)
				}
				clients = append(clients, p.onlyClient())
				p.signal(syscall.SIGTERM)
				p.wait()
			}
			if same := clients[0] == clients[1]; same != c.keep || !strings.HasPrefix(clients[0], "webhook ") {
				t.Errorf("got %q, want the same webhook twice: %v", clients, c.keep)
			}
		})
	}
}

// A status is what these tests read of /status.
type status struct {
	Store struct {
		Keeps bool `json:"keeps_credential_ids"`
	}
	Portals []struct {
		Usage struct {
			ByClient []struct{ Client string } `json:"by_client"`
		}
	}
}

func (p *process) status() (s status) {
	p.t.Helper()
	if err := json.Unmarshal(call(p.t, "GET", p.admin+"/status", "").body, &s); err != nil {
		p.t.Error(err)
	}
	return s
}

// onlyClient is the name of the only client, of the only portal.
func (p *process) onlyClient() string {
	p.t.Helper()
	s := p.status()
	if len(s.Portals) != 1 || len(s.Portals[0].Usage.ByClient) != 1 {
		p.t.Fatalf("got %+v, want one client at one portal", s)
	}
	return s.Portals[0].Usage.ByClient[0].Client
}
