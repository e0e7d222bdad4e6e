package b24sim

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const (
	form     = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// A batch may be a JSON object, a JSON list, a form or a query. It counts once, and
// each command runs and answers under its key.
func TestBatchForms(t *testing.T) {
	for _, test := range []struct{ name, contentType, body, query, want string }{
		{"a JSON object", jsonType, `{"cmd":{"a":"crm.deal.get?ID=7","b":"crm.deal.list?start=50"}}`, "", `{"a":{"ID":"7","TITLE":"Item 7"},"b":[`},
		{"a JSON list", jsonType, `{"cmd":["crm.deal.get?ID=7","crm.deal.list?start=50"]}`, "", `[{"ID":"7","TITLE":"Item 7"},[`},
		{"a form", form, "cmd[a]=crm.deal.get%3FID%3D7&cmd[b]=crm.deal.list%3Fstart%3D50", "", `{"a":{"ID":"7","TITLE":"Item 7"},"b":[`},
		{"a query", "", "", "?cmd[]=crm.deal.get%3FID%3D7&cmd[]=crm.deal.list%3Fstart%3D50", `[{"ID":"7","TITLE":"Item 7"},[`},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := New(Config{Burst: 50, Rate: 2, Items: 120})
			w := call(t, p, "POST", hook+"batch"+test.query, test.contentType, test.body)
			if want := `{"result":{"result":` + test.want; w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) {
				t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, want)
			}
			for _, part := range []string{`"result_error":[],`, `120`, `100`, `"result_time":`, `},"time":{"start":`} {
				wantAnswer(t, w, 200, part)
			}
			if p.Ran("batch") != 1 || p.Ran("crm.deal.get") != 1 || p.Ran("crm.deal.list") != 1 || p.Level() != 1 {
				t.Errorf("got the runs %v and the level %d, want one of each and 1", p.ran, p.Level())
			}
		})
	}
}

// The fifty-first command fails alone, with status 200, and so does a batch in a
// batch or an unknown method.
func TestBatchErrors(t *testing.T) {
	p := New(Config{})
	var b strings.Builder
	for i := range 51 {
		fmt.Fprintf(&b, "cmd[c%d]=profile&", i+1)
	}
	w := call(t, p, "POST", hook+"batch", form, b.String())
	wantAnswer(t, w, 200, `"result_error":{"c51":{"error":"ERROR_BATCH_LENGTH_EXCEEDED","error_description":"Max batch length exceeded"}}`)
	if p.Ran("profile") != 50 {
		t.Errorf("got %d run, want 50", p.Ran("profile"))
	}
	w = call(t, p, "POST", hook+"batch", form, "cmd[]=batch&cmd[]=no.such")
	const errors = `{"result":{"result":[],"result_error":[{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED","error_description":"Method is not allowed for batch usage"},{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}],"result_total":[],"result_next":[],"result_time":[]},"time":`
	if !strings.HasPrefix(w.Body.String(), errors) {
		t.Errorf("got %s, want %s", w.Body, errors)
	}
}

// halt stops the batch at the first error; without it the rest runs.
func TestBatchHalt(t *testing.T) {
	for halt, ran := range map[string]int{"": 1, "0": 1, "1": 0} {
		p := New(Config{Faults: []Fault{{Method: "crm.deal.add", Kind: "insufficient_scope"}}})
		call(t, p, "POST", hook+"batch", form, "halt="+halt+"&cmd[a]=crm.deal.add&cmd[b]=profile")
		if p.Ran("crm.deal.add") != 0 || p.Ran("profile") != ran {
			t.Errorf("halt=%s: got the runs %v, want %d of profile alone", halt, p.ran, ran)
		}
	}
}

// Inside a batch a fault strikes only the command that it names. A fault of whole
// answers strikes only a call outside a batch.
func TestBatchFaults(t *testing.T) {
	p := New(Config{Faults: []Fault{
		{Method: "crm.deal.add", Kind: "html", First: 1},
		{Method: "crm.deal.add", Kind: "INTERNAL_SERVER_ERROR", First: 1},
	}})
	w := call(t, p, "POST", hook+"batch", form, "cmd[a]=crm.deal.add&cmd[b]=profile")
	wantAnswer(t, w, 200, `"result_error":{"a":{"error":"INTERNAL_SERVER_ERROR",`)
	if p.Ran("crm.deal.add") != 1 || p.Ran("profile") != 1 {
		t.Errorf("got the runs %v, want those of the commands before the error", p.ran)
	}
	if w := get(t, p, hook+"crm.deal.add"); w.Code != 502 {
		t.Errorf("the call after it: got %d %s, want 502", w.Code, w.Body)
	}
}

// A command may name the result of an earlier one.
func TestBatchReferences(t *testing.T) {
	p := New(Config{})
	w := call(t, p, "POST", hook+"batch", form, url.Values{
		"cmd[new]":  {"crm.deal.add"},
		"cmd[old]":  {"crm.deal.get?ID=$result[new]"},
		"cmd[path]": {"crm.deal.get?ID=$result[old][ID]5"},
		"cmd[none]": {"crm.deal.get?ID=$result[gone][ID]"},
	}.Encode())
	// url.Values sorts its keys: the command `new` comes before `old` and `path`.
	for _, part := range []string{`"new":1001`, `"old":{"ID":"1001"`, `"path":{"ID":"10015"`, `"none":{"error":"",`} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("got %s, want %s in it", w.Body, part)
		}
	}
}

// In REST 3.0 the first error is the whole answer, although the commands before it
// ran.
func TestBatch3(t *testing.T) {
	const target = "/rest/api/1/invented-code/batch"
	p := New(Config{})
	w := call(t, p, "POST", target, jsonType, `[{"method":"tasks.task.get","query":{"id":1}},{"method":"tasks.task.get","query":{"id":2}}]`)
	if want := `{"result":[{"item":{"id":1,"title":"Item 1"}},{"item":{"id":2,"title":"Item 2"}}],"time":`; !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	w = call(t, p, "POST", target, jsonType, `[{"method":"tasks.task.add"},{"method":"no.such"},{"method":"tasks.task.delete","query":{"id":2}}]`)
	if want := `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_METHODNOTFOUNDEXCEPTION","message":"Method not found"}}`; w.Code != 404 || w.Body.String() != want {
		t.Errorf("got %d %s, want 404 %s", w.Code, w.Body, want)
	}
	if p.Ran("tasks.task.add") != 1 || p.Ran("tasks.task.delete") != 0 {
		t.Errorf("got the runs %v, want those of the commands before the error", p.ran)
	}
	if w := call(t, p, "POST", target, jsonType, `[]`); w.Code != 400 {
		t.Errorf("an empty batch: got %d %s, want 400", w.Code, w.Body)
	}
	w = call(t, p, "POST", "/rest/api/batch", jsonType, `{"0":{"method":"tasks.task.get","query":{"id":1}},"auth":"invented-token"}`)
	if !strings.HasPrefix(w.Body.String(), `{"result":[{"item":`) {
		t.Errorf("with the token in the body: got %s, want a result", w.Body)
	}
}
