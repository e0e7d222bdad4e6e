package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A bucket that was emptied is not full again because the program was stopped
// or killed in the middle of a burst: with a state file the portal refuses
// nothing afterwards. Without one it does, and callers do not notice.
func TestBucketsOutliveTheProgram(t *testing.T) {
	for name, c := range map[string]struct {
		signal  os.Signal
		keep    bool
		refuses bool
	}{
		"killed":               {syscall.SIGKILL, true, false},
		"stopped":              {syscall.SIGTERM, true, false},
		"killed, without file": {syscall.SIGKILL, false, true},
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
			for _, a := range <-together(60, func(int) answer { return call(t, "POST", second.clients+add, "{}") }) {
				if a.status != 200 {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if refused := sim.Refused(); c.refuses != (refused > 0) {
				t.Errorf("the portal refused %d calls", refused)
			}
		})
	}
}

// A state file that is none is set aside with a warning, and the program
// serves; a second program on the same file does not start.
func TestStateFileOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "STATE_FILE="+path)
	if code := call(t, "GET", p.admin+"/readyz", "").status; code != 200 {
		t.Errorf("not ready: %d", code)
	}
	if aside, _ := filepath.Glob(path + ".damaged-*"); len(aside) != 1 {
		t.Errorf("set aside: %v", aside)
	}
	if code := launch(t, "STATE_FILE="+path).wait(); code != 1 {
		t.Errorf("the second program ended with %d", code)
	}
}
