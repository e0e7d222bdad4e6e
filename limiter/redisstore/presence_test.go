package redisstore

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"b24proxy/limiter"
)

// Replicas count by their egress id, until they stop.
func TestReplicasAreCounted(t *testing.T) {
	m := miniredis.RunT(t)
	url := "redis://" + m.Addr()
	first := mustOpen(t, Config{URL: url, Egress: "e"})
	mustOpen(t, Config{URL: url, Egress: "other"})
	second := mustOpen(t, Config{URL: url, Egress: "e"})
	eventually(t, "the first knows of both", func() bool { return first.State().Replicas == 2 })
	second.Close()
	eventually(t, "the first is alone", func() bool { return first.State().Replicas == 1 })
}

// part is the part of the limit that a replica thinks is for those that reach the store.
func (s *Store) part() float64 {
	var r limiter.Report
	s.amend(&r)
	return r.Part
}

// vanish ends a replica without a goodbye, as if it was killed or cut off.
func (s *Store) vanish() {
	s.end()
	<-s.ended
}

// The part of the limit of a replica that vanishes is left to it for a while, and is for
// the others again after that.
func TestReplicaVanishes(t *testing.T) {
	m := miniredis.RunT(t)
	start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	m.SetTime(start)
	a, b := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}), mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	eventually(t, "a has the whole limit with b", func() bool { return a.part() == 1 && a.State().Replicas == 2 })
	b.vanish()
	m.SetTime(start.Add(absentAfter + time.Millisecond))
	eventually(t, "a half of it is left to b", func() bool { return a.part() == 0.5 && a.State().Replicas == 2 })
	settled(m, start.Add(seen))
	eventually(t, "a has the whole limit", func() bool { return a.part() == 1 && a.State().Replicas == 1 })
}

// settled lets pass what it takes until nobody is expected any more, in steps that are
// no outages.
func settled(m *miniredis.Miniredis, from time.Time) {
	for i := range 4 {
		m.SetTime(from.Add(time.Duration(i) * absentAfter * 3 / 4))
		time.Sleep(2 * beatInterval)
	}
}

// A replica that has not beaten for a while does not know who else reaches the store, so
// it asks for nothing before it has.
func TestNothingIsAskedWithoutBeats(t *testing.T) {
	m := miniredis.RunT(t)
	a, err := open(Config{URL: "redis://" + m.Addr(), Egress: "e", Log: quiet}, limiter.SyncBound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	eventually(t, "the store gives slots", func() bool { _, err := a.Sync(report); return err == nil })
	a.vanish()
	time.Sleep(absentAfter)
	if _, err := a.Sync(report); !errors.Is(err, errUnsure) {
		t.Errorf("got %v, want %v", err, errUnsure)
	}
}

// When the store is back, who comes first leaves to the others their parts, also where
// the store does not remember them, and not for ever where they are gone.
func TestPartOfTheFirstThatIsBack(t *testing.T) {
	m := miniredis.RunT(t)
	start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	m.SetTime(start)
	a, b := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}), mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	eventually(t, "a knows both", func() bool { return a.State().Replicas == 2 })
	b.vanish()
	m.FlushAll()
	m.SetTime(start.Add(time.Minute))
	eventually(t, "a half is left to b", func() bool { return a.part() == 0.5 && a.State().Replicas == 2 })
	m.SetTime(start.Add(time.Minute + settle/2)) // b does not come
	time.Sleep(2 * beatInterval)
	if part := a.part(); part != 0.5 {
		t.Errorf("got %v of the limit, want a half while b may come", part)
	}
	settled(m, start.Add(time.Minute+settle/2))
	eventually(t, "a has the whole limit", func() bool { return a.part() == 1 && a.State().Replicas == 1 })
}

// No replica can go alone before all others know that it is absent.
func TestAbsenceIsKnownInTime(t *testing.T) {
	if latest := absentAfter + beatInterval + 2*limiter.SyncBound; latest > limiter.AwayAfter {
		t.Errorf("the others know after %v, want less than %v", latest, limiter.AwayAfter)
	}
}

// burst asks for slots of a bucket that hardly drains.
func burst(s *Store, slots int) (limiter.Reply, error) {
	return s.Sync(limiter.Report{Upstream: "acme.bitrix24.com", Plan: limiter.Plan{Rate: 0.01, Burst: 50}, Want: slots})
}

// wantNoBurst waits until a store answers, and wants that it gives nothing.
func wantNoBurst(t *testing.T, s *Store) {
	t.Helper()
	var reply limiter.Reply
	eventually(t, "the store answers", func() (is bool) {
		var err error
		reply, err = burst(s, 49)
		return err == nil
	})
	if full := float64(int(49 * reply.Part)); reply.Granted > 0 || math.Abs(reply.Known.Level-full) > 1 {
		t.Errorf("got %d slots at a level of %v, want none: the others may have used them", reply.Granted, reply.Known.Level)
	}
}

// A store that has lost its writes gives no burst to the replica that asks first, which
// knows nothing of the bucket.
func TestStoreThatIsEmptied(t *testing.T) {
	m := miniredis.RunT(t)
	a, idle := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}), mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	eventually(t, "a gets a burst", func() bool { reply, err := burst(a, 49); return err == nil && reply.Granted == 49 })
	m.FlushAll()
	wantNoBurst(t, idle)
	wantNoBurst(t, mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}))
}

// lost is how long ago a replica thinks that the store lost writes.
func (s *Store) lost() time.Duration {
	var r limiter.Report
	s.amend(&r)
	return r.Lost
}

// A loss gets old also where the server's clock is set back after it.
func TestClockThatIsSetBackAfterALoss(t *testing.T) {
	m := miniredis.RunT(t)
	start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	m.SetTime(start)
	s := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	m.FlushAll()
	eventually(t, "the loss is noticed", func() bool { return s.lost() > 0 })
	m.SetTime(start.Add(-time.Hour))
	time.Sleep(2 * beatInterval)
	m.SetTime(start.Add(-time.Hour + time.Minute))
	eventually(t, "the loss was a minute ago", func() bool { return s.lost() >= time.Minute && s.lost() < 2*time.Minute })
}

// A replica that is new gets no burst of a store that is, before those that remember
// another state of it have come.
func TestStoreThatIsNewToANewReplica(t *testing.T) {
	m := miniredis.RunT(t)
	a := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	eventually(t, "a gets a burst", func() bool { reply, err := burst(a, 49); return err == nil && reply.Granted == 49 })
	m.FlushAll()
	began := time.Now()
	fresh := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	if _, err := burst(fresh, 49); !errors.Is(err, errNewBucket) && time.Since(began) < young {
		t.Errorf("got %v, want that the replica asks again", err)
	}
	wantNoBurst(t, fresh)
}

// dump copies all hashes.
func dump(m *miniredis.Miniredis) map[string]map[string]string {
	all := make(map[string]map[string]string)
	for _, key := range m.Keys() {
		all[key] = make(map[string]string)
		fields, _ := m.HKeys(key)
		for _, field := range fields {
			all[key][field] = m.HGet(key, field)
		}
	}
	return all
}

// A failover that lost the last writes lets no burst through, whoever asks first, and
// however little time there was to notice.
func TestFailoverThatLostWrites(t *testing.T) {
	m := miniredis.RunT(t)
	a, idle := mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"}), mustOpen(t, Config{URL: "redis://" + m.Addr(), Egress: "e"})
	eventually(t, "a uses the bucket", func() bool { _, err := burst(a, 1); return err == nil })
	kept := dump(m)
	time.Sleep(3 * beatInterval)
	if reply, err := burst(a, 49); err != nil || reply.Granted != 48 {
		t.Fatalf("got %d slots and %v, want 48", reply.Granted, err)
	}
	m.SetError("the master is gone")
	if _, err := burst(idle, 49); err == nil {
		t.Fatal("got a reply of a master that is gone")
	}
	for key, fields := range kept {
		for field, value := range fields {
			m.HSet(key, field, value)
		}
	}
	m.SetError("")
	wantNoBurst(t, idle)
}
