package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"b24proxy/proxy/bitrix24"
)

// saying makes a proxy in front of a portal that says the same to each request, byte for
// byte, and hangs up.
func saying(t *testing.T, text string) (p *Proxy, label string) {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.Copy(io.Discard, r.Body)
				io.WriteString(c, text)
			}
			c.Close()
		}
	}()
	label = listener.Addr().String()
	return newProxy(t, func(c *Config) { c.Upstream = mustURL("http://" + label) }), label
}

// Whatever answer net/http lets through is normalized and counted.
func TestOddAnswers(t *testing.T) {
	const page, refusal = "<html>x</html>", `{"error":"QUERY_LIMIT_EXCEEDED"}`
	head := func(status string, length int, more string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n", status, length, more)
	}
	for name, a := range map[string]struct {
		method, answer string
		want           int
		reason         string // of an error; else the body is want's
		outcome        string
	}{
		"a status of 0":            {"POST", head("000 Zero", 12, "") + `{"result":1}`, 500, "reset", "portal_error"},
		"a status of 99":           {"POST", head("099 Low", 12, "") + `{"result":1}`, 500, "reset", "portal_error"},
		"a status of 999":          {"POST", head("999 High", 12, "") + `{"result":1}`, 500, "not_json", "portal_error"},
		"a method's error at 600":  {"POST", head("600 High", 13, "") + `{"error":"X"}`, 600, "", "method_error"},
		"no status":                {"POST", "HTTP/1.1 abc\r\n\r\n", 500, "reset", "portal_error"},
		"a negative status":        {"POST", "HTTP/1.1 -20 X\r\n\r\n", 500, "reset", "portal_error"},
		"two lengths":              {"POST", head("200 OK", 12, "Content-Length: 13\r\n") + `{"result":1}`, 500, "reset", "portal_error"},
		"the same length twice":    {"POST", head("200 OK", 12, "Content-Length: 12\r\n") + `{"result":1}`, 200, "", "ok"},
		"a length too long":        {"POST", head("200 OK", 13, "") + `{"result":1}`, 500, "truncated", "portal_error"},
		"no length":                {"POST", "HTTP/1.0 200 OK\r\n\r\n" + `{"result":1}`, 200, "", "ok"},
		"204 with a body":          {"POST", head("204 No Content", 14, "") + page, 204, "", "ok"},
		"205 without a body":       {"POST", head("205 Reset Content", 0, ""), 205, "", "ok"},
		"205 with an error":        {"POST", head("205 Reset Content", 13, "") + `{"error":"X"}`, 400, "", "method_error"},
		"304 with a body":          {"POST", head("304 Not Modified", 14, "") + page, 304, "", "ok"},
		"HEAD at 503":              {"HEAD", head("503 Unavailable", 14, ""), 500, "-", "portal_error"},
		"HEAD at 200":              {"HEAD", head("200 OK", 14, ""), 200, "", "ok"},
		"OPTIONS at 502":           {"OPTIONS", head("502 Bad Gateway", len(page), "") + page, 500, "html", "portal_error"},
		"OPTIONS at 204":           {"OPTIONS", head("204 No Content", 0, ""), 204, "", "ok"},
		"a refusal of OPTIONS":     {"OPTIONS", head("503 Unavailable", len(refusal), "") + refusal, 503, "rate_limit", "rejected"},
		"a header of 2 MB":         {"POST", head("200 OK", 12, "X-Long: "+strings.Repeat("x", 2<<20)+"\r\n") + `{"result":1}`, 500, "reset", "portal_error"},
		"200,000 early hints":      {"POST", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 200_000) + head("200 OK", 12, "") + `{"result":1}`, 500, "reset", "portal_error"},
		"an early hint and a page": {"POST", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head("200 OK", len(page), "") + page, 500, "html", "portal_error"},
	} {
		t.Run(name, func(t *testing.T) {
			p, label := saying(t, a.answer)
			w := p.call(a.method, "/rest/crm.deal.add", "", "Prefer", "wait=0")
			if w.Code != a.want {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, a.want)
			}
			if a.reason != "" && a.reason != "-" {
				if e := errorOf(t, w); e.Proxy.Reason != a.reason || e.Proxy.Executed == "yes" {
					t.Errorf("got %+v, want the reason %s and not executed yes", e, a.reason)
				}
			}
			class := fmt.Sprintf("%dxx", min(a.want/100, 5))
			if n := p.metric(fmt.Sprintf(`b24proxy_requests_total{outcome=%q,portal=%q,status_class=%q}`, a.outcome, label, class)); n != 1 {
				t.Errorf("%s: got a count of %v, want 1", a.outcome, n)
			}
		})
	}
}

// A status of 5xx is a failure of the portal even if the answer is not examined.
func TestFailureOfAnotherPath(t *testing.T) {
	p := newProxy(t, nil).behind(fixed(500, "text/html", []byte("<html>")))
	w := p.call("POST", "/oauth/token/", "")
	if w.Code != 500 || p.metric(`b24proxy_requests_total{outcome="portal_error",portal="acme.bitrix24.com",status_class="5xx"}`) != 1 {
		t.Errorf("got %d, want 500 and a count of it", w.Code)
	}
}

// While an answer streams, its caller has two minutes for each part of it, and afterwards
// the connection has no deadline.
func TestWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := newProxy(t, nil).behind(good)
		p.reverse.Transport.(*transport).sender.base = roundTripper(func(req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{Conn: new(countingConn)})
			body := io.MultiReader(strings.NewReader(`{"result":"`+strings.Repeat("x", bitrix24.HeadLimit)), &slowly{pieces: 20, pause: 10 * time.Second}, strings.NewReader(`"}`))
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(body), Request: req, ContentLength: -1}, nil
		})
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, deal, nil))
		var got []time.Duration
		for _, at := range w.set[:len(w.set)-1] {
			got = append(got, at.Sub(began))
		}
		if want := []time.Duration{120 * time.Second, 190 * time.Second, 260 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("got deadlines after %v, want %v", got, want)
		}
		if last := w.set[len(w.set)-1]; !last.IsZero() {
			t.Errorf("got the deadline %v afterwards, want none", last)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// slowly is a part of a body that comes in pieces.
type slowly struct {
	pieces int
	pause  time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.pieces == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	s.pieces--
	p[0] = 'x'
	return 1, nil
}

// deadlines records those that are set on a connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set   []time.Time // for writing
	reads []time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.reads = append(d.reads, at)
	return nil
}

// What comes before an answer does not reach the caller and changes nothing of the
// answer: a media type that it does not name is not guessed.
func TestEarlyHints(t *testing.T) {
	p, _ := saying(t, "HTTP/1.1 100 Continue\r\n\r\n"+strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 3)+
		"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Kept: 1\r\n\r\n{\"result\":1}")
	server := httptest.NewServer(p)
	defer server.Close()
	c := must(net.Dial("tcp", server.Listener.Addr().String()))
	defer c.Close()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", deal)
	got := string(must(io.ReadAll(c)))
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || strings.Contains(got, "Content-Type") || !strings.Contains(got, "X-Kept: 1") || !strings.HasSuffix(got, `{"result":1}`) {
		t.Errorf("got %q, want the answer alone, without a Content-Type", got)
	}
}

// The trailers of a success pass. An error that is made of an answer has none.
func TestTrailers(t *testing.T) {
	for body, want := range map[string]string{`{"result":1}`: "1", `{"error":"expired_token"}`: ""} {
		p, _ := saying(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX-Late: 1\r\n\r\n", len(body), body))
		server := httptest.NewServer(p)
		resp := must(http.Post(server.URL+deal, "", nil))
		io.Copy(io.Discard, resp.Body)
		if got := resp.Trailer.Get("X-Late"); got != want {
			t.Errorf("%s: got the trailer %q, want %q", body, got, want)
		}
		server.Close()
	}
}

// A caller who hangs up in the middle of a long answer has abandoned the call, and the
// portal has not failed. Until then the call is under way there.
func TestHangingUpInAnAnswer(t *testing.T) {
	for range 10 {
		arrived := make(chan bool)
		p := beforePortal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"result":["`+strings.Repeat("x", 100<<10))
			w.(http.Flusher).Flush()
			arrived <- true
			<-r.Context().Done()
			arrived <- true
		}), nil)
		server := httptest.NewServer(p)
		label := strings.TrimPrefix(p.config.Upstream.String(), "http://")
		ctx, leave := context.WithCancel(t.Context())
		resp := must(http.DefaultClient.Do(must(http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/rest/crm.deal.add", nil))))
		<-arrived
		must(io.ReadFull(resp.Body, make([]byte, 70<<10)))
		if n := p.metric(`b24proxy_portal_in_flight_requests{portal="` + label + `"}`); n != 1 {
			t.Errorf("got %v calls under way, want 1", n)
		}
		if n := p.metric(`b24proxy_portal_request_duration_seconds_count{portal="` + label + `"}`); n != 0 {
			t.Errorf("got %v durations, want none yet", n)
		}
		leave()
		<-arrived
		server.Close() // waits for the call
		for series, want := range map[string]float64{
			`b24proxy_requests_total{outcome="abandoned",portal="` + label + `",status_class="none"}`:      1,
			`b24proxy_errors_total{code="ERROR_UNEXPECTED_ANSWER",portal="` + label + `",source="portal"}`: 0,
			`b24proxy_portal_in_flight_requests{portal="` + label + `"}`:                                   0,
			`b24proxy_portal_request_duration_seconds_count{portal="` + label + `"}`:                       1,
			`b24proxy_portal_requests_total{portal="` + label + `",status_class="2xx"}`:                    1,
		} {
			if n := p.metric(series); n != want {
				t.Errorf("%s: got %v, want %v", series, n, want)
			}
		}
	}
}

// A portal that breaks off a long answer has failed, whatever the caller does.
func TestPortalBreaksOff(t *testing.T) {
	p, label := saying(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"+`{"result":["`+strings.Repeat("x", 100<<10))
	server := httptest.NewServer(p)
	resp := must(http.Post(server.URL+deal, "", nil))
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("got no error at the end of the answer, want one")
	}
	server.Close()
	if n := p.metric(`b24proxy_requests_total{outcome="portal_error",portal="` + label + `",status_class="2xx"}`); n != 1 {
		t.Errorf("got a count of %v, want 1", n)
	}
}
