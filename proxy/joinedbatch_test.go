package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/limiter"
	"b24proxy/proxy/joining"
)

// What fails inside is sent alone, with a slot of its own, and its caller gets the text
// that the portal sends alone.
func TestErrorsInsideAreNotPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &readingPortal{single: func(method string) (int, string) {
			return 400, `{"error":"ALONE","error_description":"the text of a single call"}`
		}}
		p := joiningProxy(t, nil).behind(portal)
		answers := p.together(5, func(i int) string {
			if i == 2 {
				return hook + "/crm.deal.get?ID=fail"
			}
			return numbered(i)
		})
		for i, w := range answers {
			switch {
			case i != 2 && w.Code != 200:
				t.Errorf("read %d: got %d %s, want 200", i, w.Code, w.Body)
			case i == 2 && (w.Code != 400 || !strings.Contains(w.Body.String(), "the text of a single call") || strings.Contains(w.Header().Get("Server-Timing"), "batch")):
				t.Errorf("the read that failed: got %d %s %v, want the portal's own error", w.Code, w.Body, w.Header())
			}
		}
		if got := fmt.Sprint(portal.sizes()); got != "[1 5 1]" {
			t.Errorf("got requests of %s reads, want [1 5 1]", got)
		}
		if got := p.metric(fallbacks(joining.Error)); got != 1 {
			t.Errorf("got %v reads sent alone, want 1", got)
		}
		if got := p.metric(errorsTotal("other", "batch")); got != 0 {
			t.Errorf("got %v errors within batches, want none: the read's own error counts", got)
		}
	})
}

// A batch that fails as a whole fails no read that would succeed alone.
func TestBatchFailsAsAWhole(t *testing.T) {
	reset := func() (int, string) { return 0, "" }
	page := func() (int, string) { return 502, "<html></html>" }
	for name, c := range map[string]struct {
		answer func() (int, string)
		times  int // it fails
		want   string
	}{
		"the limit refuses it":         {func() (int, string) { return 503, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"x"}` }, 1, "[1 8 8]"},
		"the connection breaks":        {reset, 1, "[1 8 4 4]"},
		"the connection breaks, again": {reset, 3, "[1 8 4 1 1 1 1 4 1 1 1 1]"},
		"a page":                       {page, 1, "[1 8 4 4]"},
		"an answer that is cut off":    {func() (int, string) { return 200, `{"result":{"result":{"c0":1` }, 1, "[1 8 4 4]"},
		"one result is badly encoded":  {func() (int, string) { return 200, `{"error":"WRONG_ENCODING","error_description":"x"}` }, 1, "[1 8 4 4]"},
		"PHP failed":                   {func() (int, string) { return 500, `{"error":"INTERNAL_SERVER_ERROR","error_description":"x"}` }, 1, "[1 8 4 4]"},
		"another status":               {func() (int, string) { return 201, `{"result":{}}` }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"an error of its own":          {func() (int, string) { return 403, `{"error":"insufficient_scope","error_description":""}` }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"a list in place of an object": {func() (int, string) { return 200, `{"result":{"result":[1,2,3,4,5,6,7,8]},"time":{}}` }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"nothing in it": {func() (int, string) {
			return 200, `{"result":{"result":[],"result_error":[],"result_total":[],"result_next":[],"result_time":[]}}`
		}, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"it is redirected to a page":     {func() (int, string) { return 302, "" }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
		"a gateway does not let it pass": {func() (int, string) { return 413, "<html></html>" }, 1, "[1 8 1 1 1 1 1 1 1 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				portal.batch = func(n int, commands map[string]string) (int, string) {
					if n <= c.times {
						return c.answer()
					}
					return 200, portal.answerAll(commands)
				}
				p := joiningProxy(t, nil).behind(portal)
				for i, w := range p.together(8, numbered) {
					isOwn := strings.Contains(w.Body.String(), fmt.Sprintf(`"crm.deal.get?ID=%d"`, i)) || strings.Contains(w.Body.String(), `"crm.deal.get"`)
					if w.Code != 200 || !isOwn {
						t.Errorf("read %d: got %d %s, want its result", i, w.Code, w.Body)
					}
				}
				if got := fmt.Sprint(portal.sizes()); got != c.want {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
			})
		})
	}
}

// What every read would get alone, all of them get with one attempt: the error of an
// expired token, and that of a portal that cannot be reached.
func TestErrorOfAllReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &readingPortal{batch: func(int, map[string]string) (int, string) {
			return 401, `{"error":"expired_token","error_description":"The access token provided has expired."}`
		}}
		p := joiningProxy(t, nil).behind(portal)
		for _, w := range p.together(6, numbered) {
			if e := errorOf(t, w); w.Code != 401 || e.Error != "expired_token" || e.Proxy.Executed != "no" {
				t.Errorf("got %d %s, want 401 expired_token", w.Code, w.Body)
			}
		}
		if got := fmt.Sprint(portal.sizes()); got != "[1 6]" {
			t.Errorf("got requests of %s reads, want [1 6]", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := joiningProxy(t, nil).behind(new(readingPortal))
		to := &p.reverse.Transport.(*transport).sender.base
		reachable, attempts := *to, 0
		*to = roundTripper(func(req *http.Request) (*http.Response, error) {
			if attempts++; attempts > 1 {
				return nil, errors.New("no such host")
			}
			return reachable.RoundTrip(req)
		})
		for _, w := range p.together(6, numbered) {
			if e := errorOf(t, w); w.Code != 503 || e.Error != "PORTAL_UNREACHABLE" || e.Proxy.Executed != "no" {
				t.Errorf("got %d %s, want 503 PORTAL_UNREACHABLE", w.Code, w.Body)
			}
		}
		if attempts != 2 {
			t.Errorf("got %d attempts, want 2", attempts)
		}
	})
}

// A batch carries the credential where its reads do, and reads of another credential, or
// with it elsewhere, travel apart.
func TestBatchCarriesTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		p := joiningProxy(t, func(c *Config) { c.Plan = limiter.Plan{Rate: 1, Burst: 1} }).behind(portal)
		p.call("GET", hook+"/crm.deal.fields", "")
		var calls sync.WaitGroup
		for range 3 {
			for _, c := range [][]string{
				{"/rest/user.get?auth=one", ""}, {"/rest/user.get?auth=two", ""}, {"/rest/user.get", "auth=one"}, {"/rest/user.get", "", "Authorization", "Bearer one"},
			} {
				headers := append([]string{"Content-Type", "application/x-www-form-urlencoded"}, c[2:]...)
				calls.Go(func() {
					if w := p.call("POST", c[0], c[1], headers...); w.Code != 200 {
						t.Errorf("got %d %s, want 200", w.Code, w.Body)
					}
				})
			}
		}
		calls.Wait()
		got := map[string]int{}
		for _, a := range portal.requests()[1:] {
			token := "no token"
			if strings.HasPrefix(a.body, `{"auth":"one",`) {
				token = "in the body"
			}
			got[fmt.Sprintf("%s?%s %s %s", a.path, a.query, a.header.Get("Authorization"), token)] = len(a.commands)
		}
		want := map[string]int{
			"/rest/batch?auth=one  no token": 3, "/rest/batch?auth=two  no token": 3, "/rest/batch?  in the body": 3, "/rest/batch? Bearer one no token": 3,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Nobody waits for a batch longer than twenty seconds, so that its reads can be sent
// again while their callers are there.
func TestSilentBatchIsHalved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := new(readingPortal)
		portal.batch = func(n int, commands map[string]string) (int, string) {
			if n == 1 {
				time.Sleep(time.Minute)
			}
			return 200, portal.answerAll(commands)
		}
		p := joiningProxy(t, nil).behind(portal)
		began := time.Now()
		for _, w := range p.together(6, numbered) {
			if w.Code != 200 {
				t.Errorf("got %d %s, want 200", w.Code, w.Body)
			}
		}
		if took := time.Since(began); took > 25*time.Second || !strings.HasPrefix(fmt.Sprint(portal.sizes()), "[1 6 ") {
			t.Errorf("got requests of %v reads within %v, want [1 6 and smaller ones within 25s", portal.sizes(), took)
		}
		time.Sleep(time.Minute)
	})
}

// What the commands of a webhook's batch report of operating time is not the webhook's
// own; that of an application is. A method that is held is sent alone, and while the method
// batch is held, nothing is joined.
func TestOperatingTimeOfABatch(t *testing.T) {
	answered := func(portal *readingPortal, operating string) {
		portal.batch = func(_ int, commands map[string]string) (int, string) {
			return 200, strings.ReplaceAll(portal.answerAll(commands), `"duration":0.1`, `"duration":0.1,`+operating)
		}
	}
	ratioOf := func(p *Proxy, method string) (ratio float64) {
		for _, s := range p.budgets.List(time.Now(), "acme.bitrix24.com", 10) {
			if s.Method == method {
				ratio = s.Ratio
			}
		}
		return ratio
	}
	for name, c := range map[string]struct {
		target string
		want   float64
	}{
		"a webhook":      {hook + "/user.get?ID=1", 0},
		"an application": {"/rest/user.get?ID=1&auth=token", 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				answered(portal, `"operating":240`)
				p := joiningProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
				p.together(3, func(int) string { return c.target })
				if got := ratioOf(p, "user.get"); got != c.want {
					t.Errorf("got a ratio of %v for the method, want %v", got, c.want)
				}
				if got := ratioOf(p, "batch"); got != 0.5 {
					t.Errorf("got a ratio of %v for batch, want 0.5", got)
				}
			})
		})
	}
	t.Run("batch is held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			portal := new(readingPortal)
			answered(portal, `"operating":480`)
			p := joiningProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(portal)
			p.together(3, numbered)
			p.together(3, numbered)
			if got := fmt.Sprint(portal.sizes()); got != "[1 3 1 1 1 1]" {
				t.Errorf("got requests of %s reads, want the second three alone", got)
			}
		})
	})
}

// The answer of a batch may be long. If there is no room for it, its reads are sent in
// smaller ones.
func TestLongAnswerOfABatch(t *testing.T) {
	for name, c := range map[string]struct {
		room int64 // for answers; 0: all
		want string
	}{
		"there is room":              {0, "[1 10]"},
		"there is room for a half":   {300 << 10, "[1 10 5 5]"},
		"there is room for one read": {60 << 10, "[1 10 5 1 1 1 1 1 5 1 1 1 1 1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				portal := new(readingPortal)
				padding := strings.Repeat("ä", 20<<10)
				portal.batch = func(_ int, commands map[string]string) (int, string) {
					return 200, strings.ReplaceAll(portal.answerAll(commands), "crm.deal.get?", padding)
				}
				p := joiningProxy(t, nil).behind(portal)
				memory := &p.reverse.Transport.(*transport).joiner.spool.memory
				if c.room > 0 {
					memory.take(memory.size*7/8-c.room, 0)
				}
				before := memory.used.Load()
				for i, w := range p.together(10, numbered) {
					if w.Code != 200 || !strings.Contains(w.Body.String(), fmt.Sprintf("äID=%d", i)) && !strings.Contains(w.Body.String(), `"crm.deal.get"`) {
						t.Errorf("read %d: got %d %.100s, want its result", i, w.Code, w.Body)
					}
				}
				if got := fmt.Sprint(portal.sizes()); got != c.want {
					t.Errorf("got requests of %s reads, want %s", got, c.want)
				}
				if got := memory.used.Load(); got != before {
					t.Errorf("got %d bytes held at the end, want %d as before", got, before)
				}
			})
		})
	}
}
