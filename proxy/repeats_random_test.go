package proxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
)

// A hostilePortal runs each write that it accepts, takes up to three seconds for that,
// and loses a good part of the answers.
type hostilePortal struct {
	mu     sync.Mutex
	random *rand.Rand
	ran    map[string]int // by body
}

func (p *hostilePortal) draw(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n)
}

func (p *hostilePortal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := string(must(io.ReadAll(r.Body)))
	time.Sleep(time.Duration(p.draw(3000)) * time.Millisecond)
	if p.draw(10) == 0 {
		refuse(w, 401, "expired_token")
		return
	}
	p.mu.Lock()
	p.ran[body]++
	p.mu.Unlock()
	time.Sleep(time.Duration(p.draw(1000)) * time.Millisecond)
	switch p.draw(10) {
	case 0:
		panic(http.ErrAbortHandler)
	case 1:
		w.WriteHeader(http.StatusBadGateway)
		io.WriteString(w, "<html>bad gateway</html>")
	case 2:
		io.WriteString(w, `{"result":`)
	case 3:
		refuse(w, 500, "INTERNAL_SERVER_ERROR")
	default:
		fmt.Fprintf(w, `{"result":%q}`, body)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"error_description":"no"}`, code)
}

// A write runs once, however often its client repeats it blindly: after its own
// time-outs, whatever the portal does with the calls and their answers. A client that
// gets a success gets that of its own write. It is so with replicas, too, of which a
// client takes any.
func TestBlindClientsRunEachWriteOnce(t *testing.T) {
	for name, replicas := range map[string]int{"at one proxy": 0, "at three replicas": 3} {
		t.Run(name, func(t *testing.T) { runBlindClients(t, replicas) })
	}
}

func runBlindClients(t *testing.T, replicas int) {
	t.Helper()
	const clients, writes = 40, 50
	synctest.Test(t, func(t *testing.T) {
		portal := &hostilePortal{random: rand.New(rand.NewPCG(1, 2)), ran: make(map[string]int)}
		edit := func(c *Config) {
			guarded(c)
			c.Plan, c.Log = limiter.Plan{Rate: 100, Burst: 1000}, debugLog(io.Discard)
		}
		proxies := []*Proxy{newProxy(t, edit).behind(portal)}
		if replicas > 0 {
			proxies, _ = newReplicas(t, replicas, portal, edit)
		}
		var all sync.WaitGroup
		outcomes := make(map[int]int) // by status
		for client := range clients {
			all.Go(func() {
				for n := range writes {
					w := blind(proxies, portal, fmt.Sprintf("write %d of client %d.", n, client))
					portal.mu.Lock()
					outcomes[w]++
					portal.mu.Unlock()
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour)
		for body, ran := range portal.ran {
			if ran != 1 {
				t.Errorf("%s ran %d times, want once", body, ran)
			}
		}
		if outcomes[200] < clients*writes/2 || outcomes[409] == 0 || outcomes[-1] > 0 {
			t.Errorf("got %v, want mostly successes, each of its own write", outcomes)
		}
		t.Logf("%d writes, %d ran: %v", clients*writes, len(portal.ran), outcomes)
	})
}

// blind makes a write, and repeats it after every failure but one of 4xx. It returns the
// last status, -1 for the success of another write.
func blind(proxies []*Proxy, portal *hostilePortal, body string) (status int) {
	for range 10 {
		p := proxies[portal.draw(len(proxies))]
		w := p.callFor(time.Duration(300+portal.draw(4000))*time.Millisecond, body)
		switch status = w.Code; {
		case w.Body.Len() == 0: // it left
			status = 0
		case status == 200 && !strings.Contains(w.Body.String(), body):
			return -1
		case status < 500 && status != 401:
			return status
		}
	}
	return status
}
