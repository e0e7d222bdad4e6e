package access

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An address is reported with its first failure, and once a minute with all that came
// since. 64 bits of IPv6 are one address.
func TestFailuresAreReportedOnceAMinute(t *testing.T) {
	f, now := NewFailures(), time.Unix(0, 0)
	for i, step := range []struct {
		after time.Duration
		from  string
		want  int
	}{
		{0, "192.0.2.1", 1},
		{0, "192.0.2.1", 0},
		{0, "::ffff:192.0.2.1", 0},
		{0, "192.0.2.2", 1},
		{59 * time.Second, "192.0.2.1", 0},
		{time.Second, "192.0.2.1", 4},
		{0, "192.0.2.1", 0},
		{time.Hour, "192.0.2.1", 2},
		{0, "2001:db8::1", 1},
		{0, "2001:db8::2", 0},
		{0, "2001:db8:0:1::1", 1},
	} {
		now = now.Add(step.after)
		if got := f.Count(now, netip.MustParseAddr(step.from)); got != step.want {
			t.Errorf("step %d, %s: got %d, want %d", i, step.from, got, step.want)
		}
	}
	if got := f.Count(now, netip.Addr{}); got != 1 {
		t.Errorf("got %d for an address that is not known, want 1", got)
	}
}

// However many addresses there are, those that are kept and reported are bounded.
func TestReportsAreBounded(t *testing.T) {
	f, now := NewFailures(), time.Unix(0, 0)
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	reports := 0
	for i := range 3 * keptAddresses {
		reports += f.Count(now, address(i))
	}
	if reports != keptAddresses || f.by.Len() != keptAddresses {
		t.Errorf("got %d reports and %d addresses, want %d of each", reports, f.by.Len(), keptAddresses)
	}
	if got := f.Count(now.Add(time.Minute), address(1<<20)); got != 1 || f.by.Len() != keptAddresses {
		t.Errorf("got %d and %d addresses a minute later, want a report in the place of the oldest", got, f.by.Len())
	}
}

func TestSlowWaitsASecondButNotManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, began := NewFailures(), time.Now()
		var all sync.WaitGroup
		for range maxSlowed {
			all.Go(func() {
				if !f.Slow(t.Context()) || time.Since(began) != time.Second {
					t.Errorf("got an end after %v, want it after a second", time.Since(began))
				}
			})
		}
		synctest.Wait()
		if f.Slow(t.Context()) {
			t.Error("got one more that waits, want it to be answered at once")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("got an answer after %v, want it at once", took)
		}
		all.Wait()
		gone, leave := context.WithCancel(t.Context())
		leave()
		if !f.Slow(gone) || time.Since(began) != time.Second {
			t.Error("got a wait for a caller who has left, want none")
		}
	})
}
