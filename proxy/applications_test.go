package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/bitrix24"
)

// The name of an application is remembered up to 128 bytes.
func TestApplicationNamesAreBounded(t *testing.T) {
	token := bitrix24.Credential{Kind: bitrix24.CredentialOAuth, ID: "1"}
	a := newApplications()
	if a.learn(token, strings.Repeat("a", 129)); a.of(token) != "oauth 1" {
		t.Errorf("after a name of 129 bytes: got %s, want oauth 1", a.of(token))
	}
	if a.learn(token, strings.Repeat("a", 128)); a.of(token) == "oauth 1" {
		t.Error("after a name of 128 bytes: got oauth 1, want the application")
	}
}

// The OAuth tokens of one application share its budget of operating time.
func TestTokensOfOneApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().Unix()
		p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Bitrix-Rest-Application", "app."+r.URL.Query().Get("auth")[:1])
			used := 10
			if r.URL.Path == "/rest/crm.deal.list" {
				used = 479
			}
			fmt.Fprintf(w, `{"result":1,"time":{"finish":%d,"operating":%d,"operating_reset_at":%d}}`, now, used, now+300)
		}))
		for _, token := range []string{"a1", "a2", "b1"} {
			p.call("POST", "/rest/user.get?auth="+token, "") // makes the application known
		}
		p.call("POST", "/rest/crm.deal.list?auth=a1", "")
		for token, want := range map[string]int{"a2": 429, "b1": 200} {
			if w := p.call("POST", "/rest/crm.deal.list?auth="+token, ""); w.Code != want {
				t.Errorf("%s: got %d, want %d", token, w.Code, want)
			}
		}
	})
}

// The first answer that names the application of a token already counts for that
// application.
func TestFirstAnswerCountsForTheApplication(t *testing.T) {
	p := newProxy(t, func(c *Config) { c.OperatingLimit = 480 * time.Second }).behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Bitrix-Rest-Application", "app.1")
		fmt.Fprintf(w, `{"result":1,"time":{"operating":500,"operating_reset_at":%d}}`, time.Now().Unix()+300)
	}))
	p.call("POST", "/rest/crm.deal.list?auth=t1", "", "Prefer", "wait=1")
	w := p.call("POST", "/rest/crm.deal.list?auth=t1", "", "Prefer", "wait=1")
	if w.Code != 429 {
		t.Fatalf("the second call: got %d %s, want 429", w.Code, w.Body)
	}
	if after := must(time.ParseDuration(w.Header().Get("Retry-After") + "s")); after < 295*time.Second || after > 301*time.Second {
		t.Errorf("got a Retry-After of %v, want about 300 s: the answer names no time of the portal, so ours counts", after)
	}
}
