package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"b24proxy/limiter/storetest"
	"b24proxy/proxy/b24sim"
)

// secretRequests returns the bytes of requests for a method, by what they have: the
// word s3cret in each place and each way in which clients send secrets, where it
// belongs and where it does not. Some reach the portal, others are refused before.
func secretRequests(method string) (sent, refused map[string]string) {
	hooked := "/rest/1/s3cretcode/" + method
	plain := "/rest/" + method
	request := func(line, headers, body string) string {
		if !strings.Contains(line, " ") {
			line = "POST " + line
		}
		return line + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + headers + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	form := "Content-Type: application/x-www-form-urlencoded\r\n"
	part := "--x\r\nContent-Disposition: form-data; name=\"auth\"\r\n\r\ns3crettoken\r\n--x--\r\n"
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:s3cret-key-0123456")) + "\r\n"
	sent = map[string]string{
		"a webhook":                            request(hooked, "", "{}"),
		"a webhook of version 3":               request("/rest/api/1/s3cretcode/"+method, "", "{}"),
		"a webhook for XML":                    request(hooked+".xml", "", "{}"),
		"a webhook behind the portal":          request("/acme.bitrix24.com"+hooked, "", "{}"),
		"a webhook with slashes and dots":      request("//rest//1/./s3cretcode/"+method+"/", "", "{}"),
		"a webhook with escapes":               request("/%72est%2F1%2Fs3cretcode/"+method, "", "{}"),
		"a webhook without a method":           request("/rest/1/s3cretcode/", "", "{}"),
		"a code in place of the method":        request("/rest/s3cretcode0123456", "", "{}"),
		"a code in place of the user":          request("/rest/s3cretcode/1/"+method, "", "{}"),
		"a webhook in absolute form":           request("POST http://acme.bitrix24.com"+hooked, "", "{}"),
		"userinfo in absolute form":            request("POST http://s3cret:s3cret@acme.bitrix24.com"+plain, "", "{}"),
		"a token in the query":                 request(plain+"?auth=s3crettoken&access_token=s3cret", "", "{}"),
		"a nested token in the query":          request(plain+"?auth%5Baccess_token%5D=s3crettoken", "", "{}"),
		"a secret under any name in the query": request(plain+"?password=s3cret&;=%zz", "", "{}"),
		"a fragment":                           request(plain+"#s3cret", "", "{}"),
		"a token in a form":                    request(plain, form, "auth=s3crettoken&fields[SECRET]=s3cret"),
		"a token in JSON":                      request(plain, "Content-Type: application/json\r\n", `{"auth":{"access_token":"s3crettoken"},"refresh_token":"s3cret"}`),
		"a token in half a JSON":               request(plain, "Content-Type: application/json\r\n", `{"auth":"s3cret`),
		"a token in multipart":                 request(plain, "Content-Type: multipart/form-data; boundary=x\r\n", part),
		"a Bearer token":                       request(plain, "Authorization: Bearer s3crettoken\r\n", "{}"),
		"Basic authentication":                 request(plain, "Authorization: "+basic, "{}"),
		"Basic authentication for the proxy":   request(plain, "Proxy-Authorization: "+basic, "{}"),
		"an unknown authentication":            request(plain, "Authorization: s3cret\r\nProxy-Authorization: Digest s3cret\r\n", "{}"),
		"cookies":                              request(plain, "Cookie: PHPSESSID=s3cret; BITRIX_SM_LOGIN=s3cret\r\n", "{}"),
		"headers of the client's own":          request(plain, "X-Api-Key: s3cret\r\nS3cret: s3cret\r\nReferer: https://acme.bitrix24.com"+hooked+"\r\nUser-Agent: s3cret\r\n", "{}"),
		"an origin":                            request(plain, "Origin: https://user:s3cret@acme.bitrix24.com\r\n", "{}"),
		"a webhook as id and client":           request(plain, "X-Request-Id: https://acme.bitrix24.com"+hooked+"\r\nB24-Client: auth=s3cret\r\n", "{}"),
		"preferences and priorities":           request(plain, "Prefer: wait=s3cret\r\nPriority: u=s3cret\r\nIdempotency-Key: s3cret\r\n", "{}"),
		"an unknown method":                    request("S3CRET "+plain, "", "{}"),
		"a trailer":                            strings.Replace(request(hooked, "", "2\r\n{}\r\n0\r\nAuth: s3cret\r\n\r\n"), "Content-Length: 28", "Transfer-Encoding: chunked", 1),
	}
	refused = map[string]string{
		"a webhook behind a host off the list":   request("/evil.example.com"+hooked, "", "{}"),
		"a code in place of the portal":          request("/s3cretcode"+plain, "", "{}"),
		"a large body":                           request(plain, "", strings.Repeat("s3cret", 4000)),
		"a webhook as the portal":                request(plain, "B24-Portal: https://acme.bitrix24.com"+hooked+"\r\n", "{}"),
		"a code as the portal":                   request(plain, "B24-Portal: s3cretcode\r\n", "{}"),
		"userinfo in the portal":                 request(plain, "B24-Portal: user:s3cret@acme.bitrix24.com\r\n", "{}"),
		"an expectation":                         request(plain, "Expect: s3cret\r\n", "{}"),
		"CONNECT with userinfo":                  request("CONNECT user:s3cret@acme.bitrix24.com:443", "", ""),
		"CONNECT with authentication":            request("CONNECT acme.bitrix24.com:443", "Proxy-Authorization: "+basic, ""),
		"CONNECT to a tunnel host":               request("CONNECT oauth.bitrix.info:443", "Proxy-Authorization: "+basic, ""),
		"CONNECT to a secret":                    request("CONNECT s3cretcode:443", "Proxy-Authorization: "+basic, ""),
		"CONNECT to a webhook":                   request("CONNECT acme.bitrix24.com"+hooked+":443", "", ""),
		"CONNECT with a body":                    request("CONNECT acme.bitrix24.com:443", "", "auth=s3cret"),
		"a Host with a path":                     strings.Replace(request(plain, "", "{}"), "Host: 127.0.0.1", "Host: acme.bitrix24.com"+hooked, 1),
		"a Host with userinfo":                   strings.Replace(request(plain, "", "{}"), "Host: 127.0.0.1", "Host: user:s3cret@acme.bitrix24.com", 1),
		"an unknown version":                     strings.Replace(request(hooked, "", "{}"), "HTTP/1.1", "HTTP/s3cret", 1),
		"an unknown transfer coding":             strings.Replace(request(hooked, "", "{}"), "Content-Length: 2", "Transfer-Encoding: s3cret", 1),
		"an unknown length":                      strings.Replace(request(hooked, "", "{}"), "Content-Length: 2", "Content-Length: s3cret", 1),
		"two lengths":                            strings.Replace(request(hooked, "", "{}"), "Content-Length: 2", "Content-Length: 2\r\nContent-Length: s3cret", 1),
		"both framings":                          request(hooked, "Transfer-Encoding: chunked\r\n", "s3cret"),
		"a chunk that is none":                   strings.Replace(request(hooked, "", "s3cret\r\n"), "Content-Length: 8", "Transfer-Encoding: chunked", 1),
		"a line that is no header":               request(hooked, "s3cret\r\n", "{}"),
		"a header that is none":                  request(hooked, "s3 cret s3cret: s3cret\x01\r\n", "{}"),
		"a body that breaks off":                 strings.Replace(request(hooked, "", breaksOff), "Content-Length: 19", "Content-Length: 20", 1),
		"a request of HTTP/1.0 without a length": strings.Replace(strings.Replace(request(hooked, "", "auth=s3cret"), "HTTP/1.1", "HTTP/1.0", 1), "Content-Length: 11\r\n", "", 1),
	}
	return sent, refused
}

// breaksOff is the body of the one request that ends before its end.
const breaksOff = "auth=s3cret&name=ab"

// exchangeRaw sends bytes to an address and returns what comes back within a while.
func exchangeRaw(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Error(err)
		return ""
	}
	return exchangeOver(conn, request)
}

// exchangeOver does so over a connection, which it closes.
func exchangeOver(conn net.Conn, request string) string {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, request)
	if strings.HasSuffix(request, breaksOff) {
		conn.(interface{ CloseWrite() error }).CloseWrite()
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// leaks searches a text for the word s3cret, plain or in base64, and returns what is
// around it.
func leaks(text string) (found []string) {
	lower := strings.ToLower(text)
	for _, form := range []string{"s3cret", "czNjcmV0", "MzY3JldH", "zM2NyZX", "zY3JldA"} {
		in := lower
		if form != "s3cret" {
			in = text // the case of base64 matters
		}
		if at := strings.Index(in, form); at >= 0 {
			found = append(found, text[max(0, at-150):min(len(text), at+50)])
		}
	}
	return found
}

// shown returns all that the admin listener shows.
func (p *process) shown() string {
	p.t.Helper()
	var all strings.Builder
	for _, path := range []string{"/status", "/metrics", "/", "/?open=acme.bitrix24.com&open=127.0.0.1", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
		a := call(p.t, "GET", p.admin+path, "")
		all.Write(a.body)
	}
	return all.String()
}

// Wherever secrets are in a request, and however the call ends, nothing that comes
// out of the proxy has one: no error of its own, line of the log, metric, status or
// page, and nothing else on its standard error. Only the portal gets them.
func TestNoSecretComesOut(t *testing.T) {
	t.Parallel()
	sim, upstream := portal(t, b24sim.Config{Speed: 100})
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	closed := strings.TrimPrefix(gone.URL, "http://")
	common := []string{"LOG_LEVEL=debug", "LOG_CALLS=all", "PPROF=true", "PLAN=unlimited", "QUEUE_WAIT=200ms", "MAX_BODY=20000", "UPSTREAM_TIMEOUT=300ms"}
	failures := []string{"none"}
	for _, kind := range b24sim.Kinds() {
		failures = append(failures, strings.NewReplacer("=DURATION", "=100s", "=JSON", "=null").Replace(strings.TrimSuffix(kind, "=always")))
	}
	failures = append(failures, b24sim.Codes()...)

	for _, format := range []string{"text", "json"} {
		t.Run("the log is "+format, func(t *testing.T) {
			p := launch(t, append(common, "UPSTREAM="+upstream, "LOG_FORMAT="+format, "CONNECT_TO=*.bitrix24.com="+closed)...)
			for i, failure := range failures {
				method := fmt.Sprintf("crm.deal.fault%d", i) // a budget and a block of its own
				if failure != "none" {
					sim.SetFaults(faults(t, "*:"+failure)...)
				}
				sent, refused := secretRequests(method)
				everyWay(t, p, failure, sent)
				if failure == "none" {
					everyWay(t, p, failure, refused)
				}
			}
			checkLeaks(t, p)
		})
	}
	t.Run("the portal answers with secrets", func(t *testing.T) {
		p := launch(t, append(common, "UPSTREAM="+garbled(t))...)
		sent, _ := secretRequests("profile")
		for range 2 {
			for name, request := range sent {
				head, body, _ := strings.Cut(exchangeRaw(t, p.clients, request), "\r\n\r\n")
				if strings.Contains(body, `"source":"portal"`) && strings.Contains(body, "s3cretcode") || strings.HasPrefix(head, "HTTP/1.1 200") || strings.Contains(head, " 302 ") {
					continue // this is the portal's own
				}
				for _, leak := range leaks(head + body) {
					t.Errorf("%s: got a secret in the answer: …%s…", name, leak)
				}
			}
		}
		checkLeaks(t, p)
	})
	t.Run("a tunnel that was opened with a key", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "ca")
		p := launch(t, append(common, "UPSTREAM="+upstream, "CA_DIR="+dir, "CLIENT_KEYS=shop=s3cret-key-0123456", "CONNECT_TO=oauth.bitrix.info="+closed)...)
		sim.SetFaults()
		roots := rootsOf(t, dir)
		inTunnel := func(request string) string { return exchangeInTunnel(t, p.clients, roots, request) }
		sent, refused := secretRequests("profile")
		everyWayBy(t, inTunnel, "a tunnel", sent)
		everyWayBy(t, inTunnel, "a tunnel", refused)
		key := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("shop:s3cret-key-0123456")) + "\r\n\r\n"
		for _, target := range []string{"oauth.bitrix.info:443", "evil.example:443", "user:s3cret@evil.example:443"} {
			if answer := exchangeRaw(t, p.clients, "CONNECT "+target+" HTTP/1.0\r\n"+key); strings.HasPrefix(answer, "HTTP/1.1 200 ") || leaks(answer) != nil {
				t.Errorf("CONNECT %s: got %s, want an error without a secret", target, answer)
			}
		}
		checkLeaks(t, p)
	})
	t.Run("a shared store with a password", func(t *testing.T) {
		redis := storetest.StartRedis(t)
		redis.Do(t, "acl", "setuser", "user-s3cret", "on", ">s3cret/s3cret", "~*", "&*", "+@all")
		p := launch(t, append(common, "UPSTREAM="+upstream, "REDIS_URL="+strings.Replace(redis.URL, "//", "//user-s3cret:s3cret%2Fs3cret@", 1))...)
		sent, refused := secretRequests("profile")
		everyWay(t, p, "a shared store", sent)
		everyWay(t, p, "a shared store", refused)
		if got := p.readiness(); !strings.Contains(got, "store: up") {
			t.Errorf("got /readyz %q, want that the store is used", got)
		}
		redis.Do(t, "acl", "setuser", "user-s3cret", "resetpass", ">s3cret", "off")
		redis.Do(t, "client", "kill", "type", "normal")
		eventually(t, "the store is away", func() bool { return strings.Contains(p.readiness(), "store: away") })
		checkLeaks(t, p)
	})
	t.Run("an outbound proxy with a password, a store that is away, and clients with keys", func(t *testing.T) {
		p := launch(t, append(common, "REDIS_URL=redis://user-s3cret:s3cret@"+closed+"?client_name=s3cret", "OUTBOUND_PROXY=http://user:s3cret@"+closed, "CLIENT_KEYS=shop=s3cret-key-0123456")...)
		for name, answer := range map[string]string{
			"a key":     exchangeRaw(t, p.clients, "POST /acme.bitrix24.com/rest/profile HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic "+base64.StdEncoding.EncodeToString([]byte("shop:s3cret-key-0123456"))+"\r\nContent-Length: 0\r\n\r\n"),
			"a webhook": exchangeRaw(t, p.clients, "POST /acme.bitrix24.com/rest/1/s3cret/profile HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy-Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("s3cret-key-0123456:"))+"\r\nContent-Length: 0\r\n\r\n"),
		} {
			if !strings.HasPrefix(answer, "HTTP/1.1 503 ") || leaks(answer) != nil {
				t.Errorf("%s: got %s, want 503 without a secret", name, answer)
			}
		}
		sent, refused := secretRequests("profile")
		everyWay(t, p, "a wrong key", sent)
		everyWay(t, p, "a wrong key", refused)
		checkLeaks(t, p)
	})
}

// exchangeInTunnel opens a tunnel to a portal with a key, and exchanges bytes in it.
func exchangeInTunnel(t *testing.T, address string, roots *x509.CertPool, request string) string {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("shop:s3cret-key-0123456"))
	line, _, conn := dialConnect(t, address, "CONNECT "+acme+":443 HTTP/1.1\r\nProxy-Authorization: Basic "+key+"\r\n\r\n")
	if line != "HTTP/1.1 200 Connection established" {
		t.Errorf("got %s, want a tunnel", line)
	}
	return exchangeOver(tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: acme}), request)
}

// garbled serves a portal that answers with a secret where HTTP does not allow one,
// until the test ends. Each connection gets another answer.
func garbled(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	answers := []string{
		"s3cret\r\n\r\n", "HTTP/1.1 s3cret\r\n\r\n", "HTTP/s3cret 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ns3cret\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: s3cret\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cret\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ns3cret\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}s3cret",
		"HTTP/1.1 302 Found\r\nLocation: https://user:s3cret@acme.bitrix24.com/rest/1/s3cret/x\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: https://s3cret/rest/1/s3cret/x\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 500 Oh\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\ns3cret", "HTTP/1.1 200 OK\r\nContent-Encoding: s3cret\r\nContent-Length: 6\r\n\r\ns3cret",
		"HTTP/1.1 400 Oh\r\nContent-Length: 21\r\n\r\n{\"error\":\"s3cretcode\"}",
	}
	go func() {
		for i := 0; ; i++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.Copy(io.Discard, r.Body)
					io.WriteString(conn, answers[i%len(answers)])
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

// everyWay sends secrets in every way, and looks at what comes back.
func everyWay(t *testing.T, p *process, failure string, requests map[string]string) {
	t.Helper()
	everyWayBy(t, func(request string) string { return exchangeRaw(t, p.clients, request) }, failure, requests)
}

func everyWayBy(t *testing.T, exchange func(request string) string, failure string, requests map[string]string) {
	t.Helper()
	names := slices.Collect(maps.Keys(requests))
	for i, a := range <-together(len(names), func(i int) answer { return answer{body: []byte(exchange(requests[names[i]]))} }) {
		head, body, _ := strings.Cut(string(a.body), "\r\n\r\n")
		if strings.HasPrefix(body, `{"error"`) || !strings.HasPrefix(head, "HTTP/1.1 200") {
			head += body
		}
		for _, leak := range leaks(head) {
			t.Errorf("%s, %s: got a secret in the answer: …%s…", failure, names[i], leak)
		}
	}
}

// checkLeaks stops a program, and looks at all that it showed and wrote.
func checkLeaks(t *testing.T, p *process) {
	t.Helper()
	for _, leak := range leaks(p.shown()) {
		t.Errorf("got a secret on the admin listener: …%s…", leak)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
	for line := range strings.Lines(p.logged()) {
		if leak := leaks(line); leak != nil {
			t.Errorf("got a secret on standard error: %s", line)
		}
	}
	if n := strings.Count(p.logged(), "msg=call") + strings.Count(p.logged(), `"msg":"call"`); n < 30 {
		t.Errorf("got %d lines of calls, want one for each that was routed", n)
	}
}
