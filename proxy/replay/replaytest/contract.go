package replaytest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"b24proxy/proxy/replay"
)

// A Harness is a replay.Shared under test.
type Harness struct {
	Replica func(name string) replay.Shared
	Kill    func(name string) // ends a replica without a word
	Flush   func()            // loses everything
	Pass    func(d time.Duration)
}

// patience is for how long a test waits for what must be so in the end.
const patience = 20 * time.Second

// call is an identical call of all tests, as one that has just come.
func call(id string) replay.Record {
	return replay.Record{Portal: "acme.example", ID: id, Version: 1, Calls: []string{"c1", "c2"}, Text: "text of " + id, Busy: true, Keep: time.Hour}
}

func keyed(id, key string) replay.Record {
	r := call(id)
	r.Keys = []string{key}
	return r
}

// version is a later version of a call.
func version(r replay.Record, n int64, edit func(*replay.Record)) replay.Record {
	r.Version = n
	edit(&r)
	return r
}

func sent(r *replay.Record) { r.Sent, r.Orphan = true, time.Hour }
func left(r *replay.Record) { r.Sent, r.Orphan, r.Busy, r.Open = true, time.Hour, false, time.Hour }
func over(r *replay.Record) { r.IsOver, r.Orphan, r.Busy = true, -1, false }

// settled makes it a call whose outcome is known.
func settled(open time.Duration) func(*replay.Record) {
	return func(r *replay.Record) {
		r.Sent, r.Orphan, r.Busy, r.Open, r.Answer = true, -1, false, open, []byte("answer\x00\xff")
	}
}

// meet is a call that comes to a replica. It returns the id of the one that it repeats,
// "" if it was added.
func (h Harness) meet(t *testing.T, replica string, own replay.Record, since time.Duration) (first replay.Record) {
	t.Helper()
	first, wait, err := h.Replica(replica).MeetWrite(own, since)
	if err != nil || wait {
		t.Fatalf("%s at %s: got wait %t, %v, want neither", own.ID, replica, wait, err)
	}
	return first
}

func (h Harness) save(t *testing.T, replica string, r replay.Record) {
	t.Helper()
	if isTaken, err := h.Replica(replica).SaveWrite(r); isTaken || err != nil {
		t.Fatalf("%s at %s: got taken %t, %v, want it saved", r.ID, replica, isTaken, err)
	}
}

func (h Harness) find(t *testing.T, replica, id string) replay.Record {
	t.Helper()
	r, err := h.Replica(replica).FindWrite("acme.example", id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantFirst(t *testing.T, got replay.Record, want string) {
	t.Helper()
	if got.ID != want {
		t.Errorf("it repeats %q, want %q", got.ID, want)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it does not become so that %s", what)
}

// Run checks a replay.Shared. Each test opens one that knows nothing yet.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	for name, test := range contract {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// contract has what each replay.Shared does, with a test of it.
var contract = map[string]func(t *testing.T, h Harness){
	"an open call is repeated at another replica, with what is known of it": func(t *testing.T, h Harness) {
		h.meet(t, "a", call("1"), 0)
		h.save(t, "a", version(call("1"), 2, left))
		got := h.meet(t, "b", call("2"), 0)
		wantFirst(t, got, "1")
		if got.Text != "text of 1" || !got.Sent || got.Orphan != time.Hour || got.IsLost || len(got.Answer) > 0 {
			t.Errorf("got %+v", got)
		}
		h.save(t, "a", version(call("1"), 3, settled(time.Hour)))
		for _, got := range []replay.Record{h.meet(t, "b", call("2"), 0), h.find(t, "b", "1")} {
			if got.ID != "1" || string(got.Answer) != "answer\x00\xff" || got.Orphan >= 0 || got.IsReceived {
				t.Errorf("got %+v, want the answer", got)
			}
		}
	},
	"it is not for one that differs": func(t *testing.T, h Harness) {
		h.meet(t, "a", call("1"), 0)
		h.save(t, "a", version(call("1"), 2, left))
		other, elsewhere := call("2"), call("3")
		other.Calls, elsewhere.Portal = []string{"c3"}, "beta.example"
		wantFirst(t, h.meet(t, "b", other, 0), "")
		wantFirst(t, h.meet(t, "b", elsewhere, 0), "")
		wantFirst(t, h.meet(t, "b", keyed("4", "k"), 0), "")
		one := call("5")
		one.Calls = []string{"c2"}
		wantFirst(t, h.meet(t, "b", one, 0), "1")
	},
	"a replica is not told of its own calls": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		h.save(t, "a", version(keyed("1", "k"), 2, left))
		wantFirst(t, h.meet(t, "a", call("2"), 0), "")
		wantFirst(t, h.meet(t, "a", keyed("3", "k"), 0), "")
	},
	"a call whose caller is there is another one, once its replica has been seen": func(t *testing.T, h Harness) {
		h.meet(t, "a", call("1"), 0)
		h.save(t, "a", version(call("1"), 2, sent))
		if first, wait, err := h.Replica("b").MeetWrite(call("2"), -time.Millisecond); first.ID != "" || !wait || err != nil {
			t.Errorf("got %+v, %t, %v, want to wait", first, wait, err)
		}
		if r := h.find(t, "b", "2"); r.ID != "" {
			t.Errorf("got %+v, want that what waits is not added", r)
		}
		began := time.Now()
		eventually(t, "the other replica was seen", func() bool {
			first, wait, err := h.Replica("b").MeetWrite(call("2"), time.Since(began))
			return err == nil && !wait && first.ID == ""
		})
		wantFirst(t, h.find(t, "a", "2"), "2")
	},
	"a key is that of one call, whatever became of it": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		for _, edit := range []func(*replay.Record){sent, left, settled(0)} {
			h.save(t, "a", version(keyed("1", "k"), h.find(t, "a", "1").Version+2, edit))
			wantFirst(t, h.meet(t, "b", keyed("2", "k"), 0), "1")
			wantFirst(t, h.meet(t, "b", keyed("3", "other"), time.Hour), "")
			h.save(t, "b", version(keyed("3", "other"), 9, over))
		}
		named := keyed("1", "k")
		named.Keys = append(named.Keys, "l", "other")
		h.save(t, "a", version(named, 10, settled(0)))
		wantFirst(t, h.meet(t, "b", keyed("4", "l"), 0), "1")
	},
	"a name of a key is not taken from another call": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		h.meet(t, "b", keyed("2", "l"), 0)
		both := keyed("2", "l")
		both.Keys = append(both.Keys, "k")
		h.save(t, "b", version(both, 2, sent))
		wantFirst(t, h.meet(t, "c", keyed("3", "k"), 0), "1")
		wantFirst(t, h.meet(t, "c", keyed("4", "l"), 0), "2")
	},
	"an older version changes nothing": func(t *testing.T, h Harness) {
		h.meet(t, "a", call("1"), 0)
		h.save(t, "a", version(call("1"), 3, settled(time.Hour)))
		h.save(t, "a", version(call("1"), 2, sent))
		h.save(t, "a", version(call("1"), 3, over))
		wantFirst(t, h.meet(t, "b", call("2"), 0), "1")
		h.save(t, "a", version(call("1"), 4, func(r *replay.Record) { settled(time.Hour)(r); r.Answer = nil }))
		if got := h.meet(t, "b", call("2"), 0); got.ID != "1" || len(got.Answer) > 0 {
			t.Errorf("got %+v, want it without the answer", got)
		}
		h.save(t, "a", version(call("1"), 5, over))
		h.save(t, "a", version(call("1"), 2, left))
		wantFirst(t, h.meet(t, "b", call("2"), 0), "")
	},
	"a call that is over is found by who waits for it alone": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		h.save(t, "a", version(keyed("1", "k"), 2, left))
		h.save(t, "a", version(keyed("1", "k"), 3, func(r *replay.Record) { over(r); r.Answer = []byte("it") }))
		wantFirst(t, h.meet(t, "b", call("2"), 0), "")
		wantFirst(t, h.meet(t, "b", keyed("3", "k"), 0), "")
		if got := h.find(t, "b", "1"); string(got.Answer) != "it" {
			t.Errorf("got %+v, want the answer", got)
		}
	},
	"a call whose answer another replica gave to a repetition is over for identical ones": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		h.save(t, "a", version(keyed("1", "k"), 2, settled(time.Hour)))
		if err := h.Replica("b").ReceiveWrite("acme.example", "1", true); err != nil {
			t.Fatal(err)
		}
		wantFirst(t, h.meet(t, "c", keyed("2", "k"), 0), "1")
		for n, edit := range []func(*replay.Record){settled(time.Hour), sent} {
			h.save(t, "a", version(keyed("1", "k"), int64(3+n), edit))
			wantFirst(t, h.meet(t, "c", call(fmt.Sprint(3+n)), 0), "")
		}
		if got := h.find(t, "a", "1"); !got.IsReceived {
			t.Errorf("got %+v, want that the first replica learns of it", got)
		}
		if err := h.Replica("b").ReceiveWrite("acme.example", "unknown", true); err != nil {
			t.Error(err)
		}
		wantFirst(t, h.find(t, "a", "unknown"), "")
		if err := h.Replica("b").ReceiveWrite("acme.example", "1", false); err != nil {
			t.Error(err)
		}
		wantFirst(t, h.meet(t, "c", keyed("5", "k"), 0), "")
		h.save(t, "a", version(keyed("1", "k"), 5, settled(time.Hour)))
		wantFirst(t, h.meet(t, "a", keyed("6", "k"), 0), "5")
	},
	"what a replica had sent when it died stays open, and what it had not is taken over": func(t *testing.T, h Harness) {
		for _, r := range []replay.Record{call("sent"), call("queued"), keyed("both", "k"), keyed("neither", "l")} {
			r.Calls = []string{"call " + r.ID}
			h.meet(t, "a", r, 0)
			if r.ID == "sent" || r.ID == "both" {
				h.save(t, "a", version(r, 2, sent))
			}
		}
		began := time.Now()
		h.Kill("a")
		repetition := func(id string) replay.Record {
			r := call("again " + id)
			r.Calls = []string{"call " + id}
			return r
		}
		if first, wait, err := h.Replica("b").MeetWrite(repetition("sent"), -time.Millisecond); first.ID != "" || !wait || err != nil {
			t.Errorf("at once: got %+v, %t, %v, want to wait", first, wait, err)
		}
		var got replay.Record
		eventually(t, "it is dead", func() bool {
			first, wait, err := h.Replica("b").MeetWrite(repetition("sent"), time.Since(began))
			got = first
			return err == nil && !wait
		})
		if got.ID != "sent" || !got.IsLost || got.Text == "" {
			t.Errorf("got %+v, want the call that was sent, lost", got)
		}
		if got := h.find(t, "b", "sent"); !got.IsLost {
			t.Errorf("got %+v, want it lost", got)
		}
		after := time.Since(began)
		if got := h.meet(t, "b", keyed("3", "k"), after); got.ID != "both" || !got.IsLost {
			t.Errorf("by its key: got %+v, want it lost", got)
		}
		wantFirst(t, h.meet(t, "b", repetition("queued"), after), "")
		wantFirst(t, h.meet(t, "b", keyed("5", "l"), after), "")
		for id, want := range map[string]bool{"queued": true, "neither": true, "sent": false} {
			r := call(id)
			r.Calls = []string{"call " + id}
			if isTaken, err := h.Replica("a").SaveWrite(version(r, 3, sent)); isTaken != want || err != nil {
				t.Errorf("%s: got taken %t, %v, want %t for a replica that was only frozen", id, isTaken, err, want)
			}
		}
	},
	"a call is added once, although the answer to that is lost": func(t *testing.T, h Harness) {
		for range 3 {
			wantFirst(t, h.meet(t, "a", keyed("1", "k"), 0), "")
		}
		wantFirst(t, h.meet(t, "b", keyed("2", "k"), 0), "1")
	},
	"a call is open for its time, and forgotten after its time": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		h.save(t, "a", version(keyed("1", "k"), 2, settled(time.Millisecond)))
		short := keyed("2", "l")
		short.Calls, short.Keep = []string{"c3"}, time.Millisecond
		h.meet(t, "a", short, 0)
		eventually(t, "neither is open", func() bool {
			h.Pass(2 * time.Millisecond)
			again := call("3")
			again.Calls = []string{"c1", "c3"}
			first, wait, err := h.Replica("b").MeetWrite(again, time.Hour)
			return err == nil && !wait && first.ID == ""
		})
		wantFirst(t, h.meet(t, "b", keyed("4", "l"), 0), "")
		wantFirst(t, h.meet(t, "b", keyed("5", "k"), 0), "1")
	},
	"of many calls with one key at once, one is added": func(t *testing.T, h Harness) {
		const replicas, each = 4, 25
		for n := range each {
			var all sync.WaitGroup
			var mu sync.Mutex
			firsts := make(map[string]int)
			for i := range replicas {
				all.Go(func() {
					first, _, err := h.Replica(fmt.Sprint(i)).MeetWrite(keyed(fmt.Sprint(n, i), fmt.Sprint("key", n)), 0)
					mu.Lock()
					defer mu.Unlock()
					if firsts[first.ID]++; err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if len(firsts) != 2 || firsts[""] != 1 {
				t.Fatalf("got %v, want one added, and repeated by the others", firsts)
			}
		}
	},
	"what the store has lost is not known, until it is saved again": func(t *testing.T, h Harness) {
		h.meet(t, "a", keyed("1", "k"), 0)
		h.Flush()
		wantFirst(t, h.find(t, "a", "1"), "")
		h.save(t, "a", version(keyed("1", "k"), 2, left))
		wantFirst(t, h.meet(t, "b", keyed("2", "k"), 0), "1")
		wantFirst(t, h.meet(t, "b", call("3"), 0), "1")
	},
	"a replica that the store has forgotten is not dead at once": func(t *testing.T, h Harness) {
		h.meet(t, "a", call("1"), 0)
		h.Flush()
		h.save(t, "a", version(call("1"), 2, sent))
		if first, wait, err := h.Replica("b").MeetWrite(call("2"), -time.Millisecond); first.ID != "" || !wait || err != nil {
			t.Errorf("got %+v, %t, %v, want to wait", first, wait, err)
		}
		h.Kill("a")
		h.Flush()
		h.save(t, "a", version(call("1"), 3, sent))
		began := time.Now()
		eventually(t, "it is dead", func() bool {
			first, _, err := h.Replica("b").MeetWrite(call("2"), time.Since(began)-100*time.Millisecond)
			return err == nil && first.IsLost
		})
	},
}
