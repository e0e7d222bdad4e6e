package operating

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// held makes a Guard that holds the calls of a method for 20 s.
func held(t *testing.T, c Config) *Guard {
	t.Helper()
	c.Keep = 10
	g := New(c)
	now := time.Now()
	call(t, g, now, method, ran(0, 480*time.Second, now.Add(20*time.Second)))
	return g
}

// reason is why a call was rejected, or what else went wrong.
func reason(err error) string {
	var r *limiter.Rejection
	switch {
	case errors.As(err, &r):
		return string(r.Reason)
	case err != nil:
		return err.Error()
	}
	return ""
}

// A call waits until its method is let in again, and not longer than it may.
func TestWait(t *testing.T) {
	gone, leave := context.WithCancelCause(context.Background())
	leave(errors.New("the caller left"))
	for name, c := range map[string]struct {
		ctx    context.Context
		config Config
		key    Key
		within time.Duration
		err    string
		took   time.Duration
	}{
		"a method that is not held is let in at once":        {config: Config{Limit: budgetLimit}, key: Key{"u", "app", "user.get"}},
		"a call that would wait too long is refused at once": {config: Config{Limit: budgetLimit, MaxWaiting: 1}, key: method, within: 19 * time.Second, err: "operating_time"},
		"a call that may wait long enough waits":             {config: Config{Limit: budgetLimit, MaxWaiting: 1}, key: method, within: 20 * time.Second, took: 20 * time.Second},
		"no call waits where none may":                       {config: Config{Limit: budgetLimit}, key: method, within: time.Minute, err: "queue_full"},
		"a caller who left does not wait":                    {ctx: gone, config: Config{Limit: budgetLimit, MaxWaiting: 1}, key: method, within: time.Minute, err: "the caller left"},
		"without a limit no call waits":                      {key: method},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := held(t, c.config)
				if c.ctx == nil {
					c.ctx = t.Context()
				}
				began := time.Now()
				err := g.Wait(c.ctx, c.key, began.Add(c.within))
				if took := time.Since(began); reason(err) != c.err || took != c.took {
					t.Errorf("got %q after %v, want %q after %v", reason(err), took, c.err, c.took)
				}
			})
		})
	}
}

// A call waits on while another one probes.
func TestWaitBehindTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := held(t, Config{Limit: budgetLimit, MaxWaiting: 1})
		time.Sleep(20 * time.Second)
		probe := mustEnter(t, g, time.Now(), method)
		began := time.Now()
		time.AfterFunc(2500*time.Millisecond, func() { probe.Done(time.Now(), ran(time.Second, 10*time.Second, time.Time{})) })
		if err := g.Wait(t.Context(), method, began.Add(time.Minute)); err != nil {
			t.Errorf("got %v, want no error", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("waited %v, want 3 s: the probe ends after 2.5 s, and each second the call looks", took)
		}
	})
}

// WouldReject reports what Wait would do at once.
func TestWouldReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := held(t, Config{Limit: budgetLimit})
		now := time.Now()
		if r := g.WouldReject(now, method, now.Add(19*time.Second)); r == nil || r.RetryAfter != 20*time.Second {
			t.Errorf("with 19 s to wait: got %v, want a rejection for 20 s", r)
		}
		if r := g.WouldReject(now, method, now.Add(20*time.Second)); r != nil {
			t.Errorf("with 20 s to wait: got %v, want none", r)
		}
		off := held(t, Config{})
		off.Blocked(now, method)
		if r := off.WouldReject(now, method, now); r != nil {
			t.Errorf("without a limit: got %v, want none", r)
		}
		if after := off.RetryAfter(now, method); after != 20*time.Second {
			t.Errorf("without a limit a caller is asked to come again after %v, want 20s, when the upstream resets", after)
		}
	})
}

// Close ends the waits that are under way.
func TestCloseEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := held(t, Config{Limit: budgetLimit, MaxWaiting: 1})
		time.AfterFunc(time.Second, g.Close)
		began := time.Now()
		err := g.Wait(t.Context(), method, began.Add(time.Minute))
		if took := time.Since(began); reason(err) != "draining" || took != time.Second {
			t.Errorf("got %q after %v, want draining after 1s", reason(err), took)
		}
		g.Close() // again: nothing
	})
}

// As many calls of an upstream may wait as the bound says. A place is free again
// when a call has left it, and an upstream without calls is forgotten.
func TestPlacesToWait(t *testing.T) {
	w := waiting{most: 2, calls: make(map[string]int)}
	first, second, third := w.enter("a"), w.enter("a"), w.enter("a")
	if !first || !second || third || !w.enter("b") {
		t.Fatal("want room for two calls of each upstream")
	}
	w.leave("a")
	if !w.enter("a") || w.enter("a") {
		t.Error("want room for one more call after one has left")
	}
	for _, upstream := range []string{"a", "a", "b"} {
		w.leave(upstream)
	}
	if len(w.calls) != 0 {
		t.Errorf("%v are kept, want nothing", w.calls)
	}
}
