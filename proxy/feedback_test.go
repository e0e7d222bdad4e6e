package proxy

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A method that the portal refused stays held after a call that did not run, and after
// one without an answer. After a call that ran it is let in again.
func TestOnlyACallThatRanReleasesAMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []struct {
			status int
			body   string
			ratio  float64
		}{
			{429, `{"error":"OPERATION_TIME_LIMIT"}`, 1},
			{401, `{"error":"expired_token"}`, 1},
			{0, "", 1},
			{200, `{"result":1}`, 0},
		}
		var now int
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answers[now].status == 0 {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(answers[now].status)
			io.WriteString(w, answers[now].body)
		}))
		for now = range answers {
			p.call("POST", deal, "")
			if r := p.budgets.Ratio(time.Now(), "acme.bitrix24.com"); r != answers[now].ratio {
				t.Errorf("after %d %s: got a ratio of %v, want %v", answers[now].status, answers[now].body, r, answers[now].ratio)
			}
			for _, s := range p.budgets.List(time.Now(), "acme.bitrix24.com", 10) {
				if s.InFlight > 0 {
					t.Errorf("after %d %s: got %d calls in flight, want none", answers[now].status, answers[now].body, s.InFlight)
				}
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

// The proxy learns from a batch that reports only errors of its commands, and from one
// that reports only their times.
func TestBatchOfErrorsOrTimes(t *testing.T) {
	for name, inside := range map[string]string{
		"only errors": `"result_error":{"a":{"error":"OPERATION_TIME_LIMIT"}},"result_time":[]`,
		"only times":  `"result_error":[],"result_time":{"a":{"operating":479}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, `{"result":{"result":[],`+inside+`}}`)
				}))
				p.call("POST", hook+"/batch", `{"cmd":{"a":"crm.deal.list"}}`)
				if w := p.call("POST", list, ""); w.Code != 429 {
					t.Errorf("the next call of the method: got %d, want 429", w.Code)
				}
			})
		})
	}
}

// The methods of a batch's commands are held for what it reports of them.
func TestBatchHoldsTheMethodsOfItsCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"result":{"result":{"a":[],"b":[]},"result_error":{"c":{"error":"OPERATION_TIME_LIMIT"}},"result_total":[],"result_next":[],`+
				`"result_time":{"a":{"finish":%d,"operating":479,"operating_reset_at":%d},"b":{"operating":3}}},"time":{}}`, now, now+300)
		}))
		if w := p.call("POST", hook+"/batch", `{"cmd":{"a":"crm.deal.list?start=50","b":"user.get","c":"crm.contact.list"}}`); w.Code != 200 {
			t.Fatalf("the batch: got %d, want 200", w.Code)
		}
		for method, want := range map[string]int{"crm.deal.list": 429, "user.get": 200, "crm.contact.list": 429, "batch": 200} {
			if w := p.call("POST", hook+"/"+method, ""); w.Code != want {
				t.Errorf("%s: got %d, want %d", method, w.Code, want)
			}
		}
	})
}
