package bitrix24

import (
	"bytes"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// FuzzExamine holds for any answer: nothing panics; a success and an error of a method
// pass byte for byte; any other answer leaves as valid JSON or XML with an error
// status, without the secret of the call, and without anything of what came in place
// of an answer.
func FuzzExamine(f *testing.F) {
	const secret = "inventedcode1234"
	paths := []string{
		webhook + "crm.deal.list", webhook + "crm.deal.add.xml", webhook + "batch", webhook + "batch.xml",
		"/rest/api/1/" + secret + "/tasks.task.get", "/rest/api/1/" + secret + "/batch", "/oauth/token/",
	}
	for _, s := range samples(f) {
		for i := range paths {
			f.Add(uint8(i), uint16(s.status), s.contentType, s.body)
		}
	}
	f.Fuzz(func(t *testing.T, path uint8, status uint16, contentType string, body []byte) {
		call := ParseCall(paths[int(path)%len(paths)])
		portalStatus := 200 + int(status)%400
		a := Examine(call, portalStatus, contentType, body)
		p := infoOf(a)
		p.RequestID = "r1"
		got, gotType, out := a.Normalized(p)
		switch a.Kind {
		case KindOK, KindUntouched, KindMethodError:
			if !bytes.Equal(out, body) || gotType != contentType || got != portalStatus && (a.Kind != KindMethodError || got < 400) {
				t.Errorf("%v does not pass as it came: %d %s %q", a.Kind, got, gotType, out)
			}
			return
		case KindNoAnswer:
			plain := Examine(call, portalStatus, contentType, nil)
			plain.Reason, plain.Kind = a.Reason, KindNoAnswer
			if _, _, want := plain.Normalized(p); got != 500 || !bytes.Equal(out, want) {
				t.Errorf("something of the answer is passed on: %d %q", got, out)
			}
		}
		if bytes.Contains(out, []byte(secret)) && !bytes.Contains(body, []byte(secret)) {
			t.Errorf("the call's secret is in %q", out)
		}
		if call.XML && !wellFormed(out) || !call.XML && !json.Valid(out) {
			t.Errorf("malformed %q", out)
		}
		if again := Examine(call, got, gotType, out); a.Kind == KindSystemError && (again.Known != a.Known || again.Kind == KindNoAnswer) {
			t.Errorf("normalized, %v is read as %v %q", a.Known, again.Kind, again.Code)
		}
	})
}

// FuzzWalker holds for any JSON in two pieces, cut anywhere: the walker finds in it
// what Examine finds, and its end has the same time.
func FuzzWalker(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.body, uint(len(s.body)/2))
	}
	f.Add([]byte(`{"result":{"result_error":[{"error":"\\\""}],"result_time":{"a":{"operating":1}}},"time":{"operating":2}}`), uint(50))
	f.Fuzz(func(t *testing.T, body []byte, cut uint) {
		var w walker
		n := int(cut % uint(len(body)+1))
		w.write(body[:n])
		w.write(body[n:])
		fromEnd := timeAtEnd(body)
		text := trimStart(body)
		if !json.Valid(text) || len(text) > tailLimit || !bytes.HasPrefix(text, []byte("{")) {
			return // it did not panic
		}
		var got Answer
		w.report(&got)
		want := Examine(ParseCall("/rest/batch"), 200, "", body)
		if w.hasError && !w.hasResult {
			return // an error, whose inside Examine does not read
		}
		if twice(body) {
			return // either of two may count
		}
		if !w.ended() || got.Time != want.Time || !reflect.DeepEqual(got.Inner, want.Inner) || !reflect.DeepEqual(got.InnerTimes, want.InnerTimes) {
			t.Errorf("got %v %v %v\nwant %v %v %v", got.Time, got.Inner, got.InnerTimes, want.Time, want.Inner, want.InnerTimes)
		}
		if fromEnd != (Time{}) && fromEnd != want.Time {
			t.Errorf("the time at the end is %v, want %v", fromEnd, want.Time)
		}
	})
}

// twice reports whether a name that matters may occur more than once; it may also
// be written with escapes.
func twice(body []byte) bool {
	for _, name := range []string{`"result"`, `"time"`, `"result_error"`, `"result_time"`} {
		if bytes.Count(body, []byte(name)) > 1 {
			return true
		}
	}
	return bytes.Contains(body, []byte(`\u`))
}

// FuzzAddress holds for any address: nothing panics, a method looks like one, and
// no redacted address of a webhook has the code.
func FuzzAddress(f *testing.F) {
	f.Add("1", "crm.deal.list.json", "auth=a&token=b;c&%zz")
	f.Add("api/login", "/", "")
	f.Add("", "./..//%2f", "a=b")
	f.Fuzz(func(t *testing.T, user, method, query string) {
		const code = "inventedcode1234"
		address := "/rest/" + url.PathEscape(user) + "/" + code + "/" + method
		c := ParseCall(address)
		if c.Method != "" && (!looksLikeMethod(c.Method) || c.Method != strings.ToLower(c.Method)) {
			t.Errorf("got the method %q, want one in lower case that looks like a method", c.Method)
		}
		FindCredential(c, query, query, "", []byte(query))
		if shown := Redact(address); strings.Contains(shown, code) && !strings.Contains(user+method, code) {
			t.Errorf("Redact(%q): got %q, want no code", address, shown)
		}
	})
}
