package proxy

import (
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	crmKey  = "crm-s3cret-key-01"
	shopKey = "shop-s3cret-key-1"
)

// withKeys lets only two clients call.
func withKeys(c *Config) {
	for name, key := range map[string]string{"crm-sync": crmKey, "shop": shopKey} {
		if err := c.Clients.Add(name, key); err != nil {
			panic(err)
		}
	}
}

func basic(credentials string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
}

// A client with a key may call, however it speaks to the proxy, and its key does not
// reach the portal.
func TestClientsWithKeysMayCall(t *testing.T) {
	for name, test := range map[string]struct {
		target, header, value string
		portal                string // the Authorization that it gets
		also                  []string
	}{
		"by the path, with the key as userinfo":       {target: "/acme.bitrix24.com" + deal, header: "Authorization", value: basic("shop:" + shopKey)},
		"by the path, with the key alone":             {target: "/acme.bitrix24.com" + deal, header: "Authorization", value: basic(shopKey + ":")},
		"by http_proxy":                               {target: "http://acme.bitrix24.com" + deal, header: "Proxy-Authorization", value: basic("shop:" + shopKey)},
		"with a token of the portal":                  {target: deal, header: "Proxy-Authorization", value: basic("shop:" + shopKey), also: []string{"Authorization", "Bearer token"}, portal: "Bearer token"},
		"with the key twice":                          {target: deal, header: "Proxy-Authorization", value: basic("shop:" + shopKey), also: []string{"Authorization", basic(shopKey + ":")}},
		"at a portal with Basic authentication":       {target: deal, header: "Proxy-Authorization", value: basic("shop:" + shopKey), also: []string{"Authorization", basic("bitrix:admin")}, portal: basic("bitrix:admin")},
		"with a name that is not the one of its key":  {target: deal, header: "Authorization", value: basic("shop:" + shopKey), also: []string{"B24-Client", "crm-sync"}},
		"with a header that PHP reads as another one": {target: deal, header: "Authorization", value: basic("shop:" + shopKey), also: []string{"Proxy_Authorization", basic("shop:" + shopKey)}},
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			var sent http.Header
			p := newProxy(t, func(c *Config) { withKeys(c); c.Log = debugLog(&log); c.LogAllCalls = true }).
				behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sent = r.Header; good(w, r) }))
			w := p.call("POST", test.target, "", append(test.also, test.header, test.value)...)
			if w.Code != 200 || sent.Get("Authorization") != test.portal {
				t.Errorf("got %d with Authorization %q for the portal, want 200 and %q", w.Code, sent.Get("Authorization"), test.portal)
			}
			for name, values := range sent {
				if strings.Contains(strings.Join(values, " "), basic("shop:" + shopKey)[6:]) {
					t.Errorf("got the key in %s for the portal", name)
				}
			}
			if !strings.Contains(log.String(), "client=shop ") || strings.Contains(log.String(), "s3cret") {
				t.Errorf("got the log %s, want the client's name and no key", &log)
			}
			metrics := admin(p, "/metrics")
			if !strings.Contains(metrics, `client_requests_total{client="shop",outcome="ok"} 1`) || !strings.Contains(metrics, `client_requests_total{client="crm-sync",outcome="rejected"} 0`) {
				t.Errorf("got %s, want the call under its client, and the other client at zero", metrics)
			}
		})
	}
}

func admin(p *Proxy, path string) string {
	w := httptest.NewRecorder()
	p.Admin().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil))
	return w.Body.String()
}

// Nobody else may call, and learns how to. Nothing of the request is read or sent.
func TestOthersMayNotCall(t *testing.T) {
	for name, test := range map[string]struct {
		method, target string
		headers        []string
		status         int
		challenge      string
		took           time.Duration
		says           string
	}{
		"without a key":                  {"POST", deal, nil, 401, "WWW-Authenticate", 0, "carries no client key"},
		"without a key, by the path":     {"POST", "/acme.bitrix24.com" + deal, nil, 401, "WWW-Authenticate", 0, "carries no client key"},
		"without a key, by http_proxy":   {"POST", "http://acme.bitrix24.com" + deal, nil, 407, "Proxy-Authenticate", 0, "carries no client key"},
		"without a key, by CONNECT":      {"CONNECT", "acme.bitrix24.com:443", nil, 407, "Proxy-Authenticate", 0, "carries no client key"},
		"with a token of the portal":     {"POST", deal, []string{"Authorization", "Bearer " + shopKey}, 401, "WWW-Authenticate", 0, "carries no client key"},
		"with a client's name":           {"POST", deal, []string{"B24-Client", "shop"}, 401, "WWW-Authenticate", 0, "carries no client key"},
		"with a wrong key":               {"POST", deal, []string{"Authorization", basic("shop:" + crmKey)}, 401, "WWW-Authenticate", time.Second, "is not valid"},
		"with a wrong key for the proxy": {"POST", deal, []string{"Proxy-Authorization", basic("shop:s3cret")}, 407, "Proxy-Authenticate", time.Second, "is not valid"},
		"with a wrong key by CONNECT":    {"CONNECT", "evil.example.com:443", []string{"Proxy-Authorization", basic("shop:s3cret")}, 407, "Proxy-Authenticate", time.Second, "is not valid"},
		"at a portal that nobody may":    {"POST", "/evil.example.com" + deal, nil, 401, "WWW-Authenticate", 0, "carries no client key"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				p := newProxy(t, func(c *Config) { withKeys(c); c.Log = debugLog(&log) }).
					behind(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the portal got the call") }))
				began := time.Now()
				r := httptest.NewRequest(test.method, "http://127.0.0.1:8080/", untouched{t})
				r.RequestURI, r.ContentLength = test.target, 1000
				if strings.HasPrefix(test.target, "http") {
					r.URL = mustURL(test.target)
				} else {
					r.URL = mustURL("/")
				}
				for i := 0; i < len(test.headers); i += 2 {
					r.Header.Set(test.headers[i], test.headers[i+1])
				}
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				if w.Code != test.status || w.Header().Get(test.challenge) != `Basic realm="b24proxy"` || time.Since(began) != test.took {
					t.Errorf("got %d %v after %v, want %d with %s after %v", w.Code, w.Header(), time.Since(began), test.status, test.challenge, test.took)
				}
				if e := errorOf(t, w); e.Error != "CLIENT_NOT_ALLOWED" || e.Proxy.Reason != "client_not_allowed" || e.Proxy.Executed != "no" || e.Proxy.Retryable || !strings.Contains(e.Description, test.says) {
					t.Errorf("got %+v, want CLIENT_NOT_ALLOWED that %s", e, test.says)
				}
				if text := w.Body.String() + log.String() + admin(p, "/metrics") + admin(p, "/status"); strings.Contains(text, "s3cret") || strings.Contains(text, basic("shop:s3cret")[6:]) {
					t.Errorf("got a key in %s", text)
				}
				if !strings.Contains(admin(p, "/metrics"), `rejected_total{portal="none",reason="client_not_allowed"} 1`) {
					t.Error("the failed attempt is not counted")
				}
			})
		})
	}
}

// untouched is a body that must not be read.
type untouched struct{ t *testing.T }

func (u untouched) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// The error for a call in XML is XML.
func TestClientNotAllowedInXML(t *testing.T) {
	w := newProxy(t, withKeys).call("POST", "/rest/1/code/profile.xml", "")
	if w.Code != 401 || !strings.Contains(w.Body.String(), "<error>CLIENT_NOT_ALLOWED</error>") {
		t.Errorf("got %d %s, want XML", w.Code, w.Body)
	}
}

// However many requests come without a key, the log has one line a minute for each
// address.
func TestFailedAttemptsAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		p := newProxy(t, func(c *Config) { withKeys(c); c.Log = infoLog(&log) }).behind(good)
		for range 50 {
			p.call("POST", deal, "")
		}
		time.Sleep(time.Minute)
		p.call("POST", deal, "", "Authorization", basic("shop:wrong"))
		if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "address=192.0.2.1 key=none requests=1\n") || !strings.Contains(got, "address=192.0.2.1 key=wrong requests=50\n") {
			t.Errorf("got\n%s\nwant two lines", got)
		}
	})
}

// Those who guess together are not slowed without end, but then lose their
// connection, and no right key waits for them.
func TestManyGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, func(c *Config) { withKeys(c); c.Log = infoLog(io.Discard) }).behind(good)
		guess := func() *httptest.ResponseRecorder {
			return p.call("POST", deal, "", "Authorization", basic("shop:wrong"))
		}
		for range 100 {
			go guess()
		}
		synctest.Wait()
		began := time.Now()
		if w := guess(); w.Code != 401 || w.Header().Get("Connection") != "close" {
			t.Errorf("got %d %v, want 401 on a connection that is closed", w.Code, w.Header())
		}
		if w := p.call("POST", deal, "", "Authorization", basic("shop:"+shopKey)); w.Code != 200 || time.Since(began) != 0 {
			t.Errorf("got %d after %v for the right key, want 200 at once", w.Code, time.Since(began))
		}
		time.Sleep(time.Second)
	})
}

// The slots are shared by key: a name that a client gives itself counts for nothing,
// nor do the webhooks that it uses.
func TestAKeyIsTheIdentityForFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t, withKeys).behind(simulate(t))
		for i := range 60 {
			go p.call("POST", "/rest/1/code"+string(rune('a'+i%26))+"/profile", "", "Authorization", basic("crm-sync:"+crmKey), "B24-Client", "client-"+string(rune('a'+i%26)))
		}
		synctest.Wait()
		if got := p.limiter.Clients("acme.bitrix24.com"); len(got) != 1 || got["crm-sync"] == 0 {
			t.Errorf("got the waiting clients %v, want crm-sync alone", got)
		}
		p.limiter.Close()
		p.budgets.Close()
	})
}

// A request within a tunnel is from the client that opened it.
func TestCallerOfATunnel(t *testing.T) {
	p := newProxy(t, withKeys).behind(good)
	if w := p.callContext(withConn(context.Background(), &tunnelConn{client: "shop"}), "POST", deal, ""); w.Code != 200 {
		t.Errorf("got %d, want 200 without a key of its own", w.Code)
	}
	if !strings.Contains(admin(p, "/metrics"), `client_requests_total{client="shop",outcome="ok"} 1`) {
		t.Error("the call does not count as one of shop, want that")
	}
}

func infoLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
