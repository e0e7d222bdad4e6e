package operator

import (
	"context"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func networkOf(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)
}

func (v *viewers) of(client netip.Prefix) (n int) {
	for _, o := range v.open {
		if o.client == client {
			n++
		}
	}
	return n
}

// One client that opens streams without end leaves room for every other.
func TestViewersOfManyClients(t *testing.T) {
	var w viewers
	for range 3 * maxViewers {
		if _, ok := w.join(networkOf(0)); !ok {
			t.Fatal("the newest stream of a client is refused")
		}
	}
	if n := len(w.open); n != maxViewers {
		t.Errorf("%d streams are open", n)
	}
	oldest := w.open[0].stream
	for i := 1; i < maxViewers; i++ {
		if _, ok := w.join(networkOf(i)); !ok {
			t.Errorf("client %d is refused", i)
		}
	}
	if _, open := <-oldest; open {
		t.Error("the oldest stream of the client with most goes on")
	}
	if n := w.of(networkOf(0)); n != 1 || len(w.open) != maxViewers {
		t.Errorf("%d streams of the greedy client, %d in all", n, len(w.open))
	}
	if _, ok := w.join(networkOf(99)); ok {
		t.Error("a stream of somebody with one alone is ended for another")
	}
	if _, ok := w.join(networkOf(1)); !ok || w.of(networkOf(1)) != 1 {
		t.Error("a client cannot replace its own stream")
	}
}

// deadlines records those that are set on a connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// A page has five seconds to take one status.
func TestViewersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		newTestOperator(t, nil).Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "http://localhost/events", nil))
		if len(w.set) != 1 || w.set[0].Sub(began) != 5*time.Second {
			t.Errorf("deadlines %v after %v", w.set, began)
		}
		if got := w.Header().Get("Connection"); got != "close" {
			t.Errorf("a stream that has ended keeps its connection open: Connection: %q, want close", got)
		}
	})
}

// A viewer who does not read is dropped.
func TestViewerWhoDoesNotRead(t *testing.T) {
	var w viewers
	first, _ := w.join(networkOf(1))
	w.join(networkOf(1))
	w.publish(new(status))
	<-first
	w.publish(new(status)) // the second viewer has not taken the first status
	if len(w.open) != 1 {
		t.Errorf("%d watch", len(w.open))
	}
	w.leave(first)
	if w.any() {
		t.Error("somebody watches")
	}
	w.close()
	if _, ok := w.join(networkOf(1)); ok {
		t.Error("a stream began after the stop")
	}
}
