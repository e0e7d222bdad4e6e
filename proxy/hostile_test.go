package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A hostile input is what a client writes on one connection, and what it must get.
type hostile struct {
	what    string // as a sentence
	sent    string
	want    string // of each answer the status and the code: "403 PORTAL_NOT_ALLOWED, ..."
	dialled string // the addresses of portals that are dialled; "": none, so that nothing is sent
}

const refusedName, notNamed, notRead, notReached503 = "403 PORTAL_NOT_ALLOWED", "400 PORTAL_NOT_NAMED", "400 REQUEST_NOT_READ", "503 PORTAL_UNREACHABLE"

// secretCode is the code of a webhook. No answer and no line of the log has it.
const secretCode = "S3CRETC0DE"

// request writes a request without a body. The target is that of a call unless it
// begins with another method.
func request(method, target, version string, lines ...string) string {
	return method + " " + target + " " + version + "\r\n" + strings.Join(append(lines, "Connection: close"), "\r\n") + "\r\n\r\n"
}

const hookPath = "/rest/1/" + secretCode + "/profile"

// toHost is a call whose Host is the given text.
func toHost(host string) string { return request("GET", hookPath, "HTTP/1.1", "Host: "+host) }

// dials records what a proxy dials, and lets nothing through.
type dials struct {
	mu   sync.Mutex
	seen []string
}

func (d *dials) dial(_ context.Context, _, address string) (net.Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, address)
	return nil, errors.New("the test dials nobody")
}

func (d *dials) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	seen := strings.Join(d.seen, " ")
	d.seen = nil
	return seen
}

// guard puts the recorder in place of the dialer of a proxy.
func (d *dials) guard(p *Proxy) {
	p.reverse.Transport.(*transport).sender.base.(*http.Transport).DialContext = d.dial
}

func TestHostileInputs(t *testing.T) {
	var log lockedBuffer
	s, d := serveTLS(t, nil, func(c *Config) { c.Log = debugLog(&log) }), new(dials)
	d.guard(s.p)
	inputs := slices.Concat(hostileNames(), hostileTargets(), hostileFraming())
	t.Logf("%d inputs", len(inputs))
	dialers := map[string]func() (net.Conn, error){
		"plain": func() (net.Conn, error) { return net.Dial("tcp", s.clients) },
		"TLS": func() (net.Conn, error) {
			return tls.Dial("tcp", s.tls, &tls.Config{RootCAs: s.roots, ServerName: "acme.bitrix24.com", NextProtos: []string{"http/1.1"}})
		},
	}
	for name, dial := range dialers {
		for _, input := range inputs {
			t.Run(name+": "+input.what, func(t *testing.T) {
				conn := must(dial())
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				go io.WriteString(conn, input.sent)
				got, raw := readAnswers(t, conn)
				if dialled := d.take(); got != input.want || dialled != input.dialled {
					t.Errorf("got %q and %q dialled, want %q and %q\n%s", got, dialled, input.want, input.dialled, raw)
				}
				if strings.Contains(raw, secretCode) {
					t.Errorf("got the secret in %s", raw)
				}
			})
		}
	}
	if strings.Contains(log.String(), secretCode) {
		t.Errorf("the log has the secret:\n%s", log.String())
	}
}

// readAnswers reads answers until the connection is closed.
func readAnswers(t *testing.T, conn net.Conn) (got, raw string) {
	t.Helper()
	var all bytes.Buffer
	var answers []string
	from := bufio.NewReader(io.TeeReader(conn, &all))
	for {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("the connection ends with %v, want it to be closed", err)
			}
			return strings.Join(answers, ", "), all.String()
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		answers = append(answers, fmt.Sprint(resp.StatusCode, " ", codeOf(t, resp, body)))
	}
}

// codeOf returns the code of an error that the proxy made, and checks its form.
func codeOf(t *testing.T, resp *http.Response, body []byte) string {
	t.Helper()
	var e shownError
	if err := json.Unmarshal(body, &e); err != nil {
		t.Errorf("%d %s: %v", resp.StatusCode, body, err)
		return "?"
	}
	id := resp.Header.Get("X-Request-Id")
	switch {
	case id == "" || id != e.Proxy.RequestID:
		t.Errorf("got the id %q in the header and %q in the body, want one", id, e.Proxy.RequestID)
	case e.Proxy.Executed != "no" || e.Description == "" || resp.Header.Get("B24-Error-Source") != e.Proxy.Source || resp.Header.Get("Server-Timing") == "":
		t.Errorf("got %+v with %v, want an error of the proxy that says that nothing was sent", e, resp.Header)
	case resp.Header.Get("Content-Type") != "application/json; charset=utf-8":
		t.Errorf("got %v, want JSON", resp.Header)
	}
	return e.Error
}
