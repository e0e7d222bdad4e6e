package statefile

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// atOnce counts the calls that a limiter sends without a wait.
func atOnce(t *testing.T, l *limiter.Limiter) (n int) {
	t.Helper()
	for l.WouldReject(limiter.Request{Upstream: "u"}) == nil && n < 1000 {
		s, err := l.Acquire(t.Context(), limiter.Request{Upstream: "u"})
		if err != nil {
			break
		}
		s.Answered(limiter.Accepted)
		n++
	}
	return n
}

// After a restart on another plan no more calls are sent at once than either plan
// allows after what was sent before, since the upstream may have used either of
// them meanwhile. On a larger plan the calls count, not the time that they took on
// the smaller one.
func TestRestartOnAnotherPlan(t *testing.T) {
	fast, small := limiter.Plan{Rate: 50, Burst: 500}, limiter.Plan{Rate: 2, Burst: 10}
	for name, c := range map[string]struct {
		before, after limiter.Plan
		off           time.Duration
		least, most   int
	}{
		"the same plan":                                     {limiter.Standard, limiter.Standard, 10 * time.Second, 17, 20},
		"the same plan, when the bucket is full":            {limiter.Standard, limiter.Standard, time.Minute, 49, 49},
		"a larger plan":                                     {limiter.Standard, limiter.Enterprise, 0, 190, 197},
		"a larger plan, later":                              {limiter.Standard, limiter.Enterprise, 10 * time.Second, 210, 217},
		"a smaller plan":                                    {fast, limiter.Standard, 0, 0, 0},
		"a smaller plan, later":                             {fast, limiter.Standard, 15 * time.Second, 0, 28},
		"a smaller plan, much later":                        {fast, limiter.Standard, 5 * time.Minute, 49, 49},
		"a plan of the same rate":                           {limiter.Standard, small, 5 * time.Second, 0, 0},
		"a plan of the same rate, after both would be full": {limiter.Standard, small, 26 * time.Second, 9, 9},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "state")
				start := func(plan limiter.Plan) (*limiter.Limiter, *File) {
					of := func(string) limiter.Plan { return plan }
					file, err := Open(path, of, func(msg string, args ...any) { t.Error(msg, args) })
					if err != nil {
						t.Fatal(err)
					}
					return limiter.New(limiter.Config{Plan: of, Depth: 10, Persister: file, Warn: func(msg string, args ...any) { t.Error(msg, args) }}), file
				}
				first, file := start(c.before)
				atOnce(t, first)
				file.Close()
				time.Sleep(c.off)
				second, file := start(c.after)
				defer file.Close()
				if n := atOnce(t, second); n < c.least || n > c.most {
					t.Errorf("got %d calls at once, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}

// A file of version 1, which names no rate, is still read: a bucket that was not
// full yet counts as empty, and fills from then on. What is saved afterwards is
// complete.
func TestFileOfVersion1(t *testing.T) {
	for left, want := range map[time.Duration]int{time.Second: 0, -10 * time.Second: 18, -time.Minute: 49} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state")
			line, err := encodeLine("u", saved{fullAt: time.Now().Add(left)})
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(path, append(seal(headerText1), line...), 0o600)
			file := openTest(t, path, 0)
			if n := atOnce(t, limiter.New(limiter.Config{Plan: standard, Depth: 10, Persister: file})); n != want {
				t.Errorf("full in %v: got %d calls at once, want %d", left, n, want)
			}
			file.Close()
			time.Sleep(10 * time.Second)
			if n := atOnce(t, limiter.New(limiter.Config{Plan: standard, Depth: 10, Persister: openTest(t, path, 0)})); want > 0 && (n < 17 || n > 20) {
				t.Errorf("full in %v: got %d calls at once after the next start, want 17 to 20", left, n)
			}
		})
	}
}
