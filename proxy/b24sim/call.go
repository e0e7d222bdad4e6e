package b24sim

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Call is a request that arrived at the portal. Path, Query, Header and Body are
// as they came, with secrets, because tests compare them: do not change them, and
// show only the copy that Masked makes.
type Call struct {
	Seq        int         `json:"seq"`    // 1 for the first
	At         time.Time   `json:"at"`     // when it was counted, on the real clock
	Remote     string      `json:"remote"` // the caller's IP
	Verb       string      `json:"verb"`   // GET, POST, ...
	Host       string      `json:"host"`
	Path       string      `json:"path"` // percent-encoded, as sent
	Query      string      `json:"query"`
	Header     http.Header `json:"header"`
	Body       []byte      `json:"body"`                 // its first 64 KiB
	BodyBytes  int         `json:"body_bytes"`           // its whole length
	Incomplete bool        `json:"incomplete,omitempty"` // the body broke off or was too long: not counted, not run

	Version  int      `json:"version"`            // 2 or 3; 0: not below /rest/
	Method   string   `json:"method"`             // in lower case
	Refused  bool     `json:"refused"`            // answered with QUERY_LIMIT_EXCEEDED
	Ran      bool     `json:"ran"`                // the method ran (in a batch: the batch itself)
	Inner    []string `json:"inner,omitempty"`    // methods that ran inside a batch
	Replayed bool     `json:"replayed,omitempty"` // answered from the store of idempotency keys
	Fault    string   `json:"fault,omitempty"`    // the fault that struck, in its text form
	Status   int      `json:"status"`             // of the answer; 0: none was sent, or not yet

	secrets []string
}

// String is a line for logs, without secrets.
func (c Call) String() string {
	masked := c.Masked()
	what := masked.Method
	if what == "" {
		what = masked.Path
	}
	s := fmt.Sprintf("%d %s %s %d", c.Seq, c.Verb, what, c.Status)
	switch {
	case c.Refused:
		s += " refused"
	case c.Incomplete:
		s += " incomplete"
	case c.Replayed:
		s += " replayed"
	case c.Ran:
		s += " ran"
	}
	if c.Fault != "" {
		s += " " + c.Fault
	}
	return s
}

// Masked is a copy of c in which *** stands for each secret that the portal
// found in the call: the code of a webhook, tokens, keys, and a method that does
// not look like one, because it may be a code in the wrong place.
func (c Call) Masked() Call {
	var pairs []string
	for _, secret := range c.secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			pairs = append(pairs, form, "***")
		}
	}
	mask := strings.NewReplacer(pairs...)
	c.Path = mask.Replace(c.Path)
	c.Method = mask.Replace(c.Method)
	c.Query = mask.Replace(c.Query)
	c.Body = []byte(mask.Replace(string(c.Body)))
	header := make(http.Header, len(c.Header))
	for name, values := range c.Header {
		for _, v := range values {
			header.Add(name, mask.Replace(v))
		}
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		if header.Get(name) != "" {
			header.Set(name, "***")
		}
	}
	c.Header = header
	c.secrets = nil
	return c
}

// secret records a value that must not be shown.
func (c *Call) secret(value string) {
	if value != "" {
		c.secrets = append(c.secrets, value)
	}
}

const (
	maxLogCalls = 100_000
	maxLogBody  = 64 << 10  // of one body
	maxLogBytes = 128 << 20 // of all bodies
)

// callLog keeps the latest calls, up to a number and a size of their bodies.
type callLog struct {
	calls []*Call
	seq   int
	bytes int
}

func (l *callLog) add(c *Call) {
	l.seq++
	c.Seq = l.seq
	l.calls = append(l.calls, c)
	l.bytes += len(c.Body)
	for len(l.calls) > maxLogCalls || l.bytes > maxLogBytes {
		l.bytes -= len(l.calls[0].Body)
		l.calls[0] = nil
		l.calls = l.calls[1:]
	}
}

// clip is the part of a body that the log keeps.
func clip(body []byte) []byte {
	return bytes.Clone(body[:min(len(body), maxLogBody)])
}
