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

// A batch is taken as JSON object, JSON list, form and query; it counts once,
// and each command runs and answers under its key.
func TestBatchForms(t *testing.T) {
	for _, test := range []struct{ name, contentType, body, query, want string }{
		{"object", jsonType, `{"cmd":{"a":"crm.deal.get?ID=7","b":"crm.deal.list?start=50"}}`, "", `{"a":{"ID":"7","TITLE":"Item 7"},"b":[`},
		{"list", jsonType, `{"cmd":["crm.deal.get?ID=7","crm.deal.list?start=50"]}`, "", `[{"ID":"7","TITLE":"Item 7"},[`},
		{"form", form, "cmd[a]=crm.deal.get%3FID%3D7&cmd[b]=crm.deal.list%3Fstart%3D50", "", `{"a":{"ID":"7","TITLE":"Item 7"},"b":[`},
		{"query", "", "", "?cmd[]=crm.deal.get%3FID%3D7&cmd[]=crm.deal.list%3Fstart%3D50", `[{"ID":"7","TITLE":"Item 7"},[`},
	} {
		p := New(Config{Burst: 50, Rate: 2, Items: 120})
		w := call(t, p, "POST", hook+"batch"+test.query, test.contentType, test.body)
		if want := `{"result":{"result":` + test.want; w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: %d %s, want %s", test.name, w.Code, w.Body, want)
		}
		for _, part := range []string{`"result_error":[],`, `120`, `100`, `"result_time":`, `},"time":{"start":`} {
			if !strings.Contains(w.Body.String(), part) {
				t.Errorf("%s: %s lacks %s", test.name, w.Body, part)
			}
		}
		if p.Ran("batch") != 1 || p.Ran("crm.deal.get") != 1 || p.Ran("crm.deal.list") != 1 || p.Level() != 1 {
			t.Errorf("%s: ran %v, level %d", test.name, p.ran, p.Level())
		}
	}
}

// The command beyond the fiftieth fails by itself, at 200, and so do nested
// batches and unknown methods.
func TestBatchErrors(t *testing.T) {
	p := New(Config{})
	var b strings.Builder
	for i := range 51 {
		fmt.Fprintf(&b, "cmd[c%d]=profile&", i+1)
	}
	w := call(t, p, "POST", hook+"batch", form, b.String())
	if want := `"result_error":{"c51":{"error":"ERROR_BATCH_LENGTH_EXCEEDED","error_description":"Max batch length exceeded"}}`; w.Code != 200 || !strings.Contains(w.Body.String(), want) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if p.Ran("profile") != 50 {
		t.Errorf("ran %d", p.Ran("profile"))
	}
	w = call(t, p, "POST", hook+"batch", form, "cmd[]=batch&cmd[]=no.such")
	want := `{"result":{"result":[],"result_error":[{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED","error_description":"Method is not allowed for batch usage"},{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}],"result_total":[],"result_next":[],"result_time":[]},"time":`
	if !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("%s, want %s", w.Body, want)
	}
}

// halt stops at the first error; without it the rest runs.
func TestBatchHalt(t *testing.T) {
	for halt, ran := range map[string]int{"": 1, "0": 1, "1": 0} {
		p := New(Config{Faults: []Fault{{Method: "crm.deal.add", Kind: "insufficient_scope"}}})
		call(t, p, "POST", hook+"batch", form, "halt="+halt+"&cmd[a]=crm.deal.add&cmd[b]=profile")
		if p.Ran("crm.deal.add") != 0 || p.Ran("profile") != ran {
			t.Errorf("halt=%s: ran %v", halt, p.ran)
		}
	}
}

// Inside a batch a fault strikes the command it names and no other; one that
// spoils whole answers waits for a call of its own.
func TestBatchFaults(t *testing.T) {
	p := New(Config{Faults: []Fault{
		{Method: "crm.deal.add", Kind: "html", First: 1},
		{Method: "crm.deal.add", Kind: "INTERNAL_SERVER_ERROR", First: 1},
	}})
	w := call(t, p, "POST", hook+"batch", form, "cmd[a]=crm.deal.add&cmd[b]=profile")
	if want := `"result_error":{"a":{"error":"INTERNAL_SERVER_ERROR",`; w.Code != 200 || !strings.Contains(w.Body.String(), want) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if p.Ran("crm.deal.add") != 1 || p.Ran("profile") != 1 {
		t.Errorf("ran %v", p.ran)
	}
	if w := get(t, p, hook+"crm.deal.add"); w.Code != 502 {
		t.Errorf("the call after it: %d %s", w.Code, w.Body)
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
			t.Errorf("%s lacks %s", w.Body, part)
		}
	}
}

// In REST 3.0 the first error is the whole answer, though what came before it
// ran.
func TestBatch3(t *testing.T) {
	const target = "/rest/api/1/invented-code/batch"
	p := New(Config{})
	w := call(t, p, "POST", target, jsonType, `[{"method":"tasks.task.get","query":{"id":1}},{"method":"tasks.task.get","query":{"id":2}}]`)
	if want := `{"result":[{"item":{"id":1,"title":"Item 1"}},{"item":{"id":2,"title":"Item 2"}}],"time":`; !strings.HasPrefix(w.Body.String(), want) {
		t.Errorf("%s", w.Body)
	}
	w = call(t, p, "POST", target, jsonType, `[{"method":"tasks.task.add"},{"method":"no.such"},{"method":"tasks.task.delete","query":{"id":2}}]`)
	if want := `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_METHODNOTFOUNDEXCEPTION","message":"Method not found"}}`; w.Code != 404 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if p.Ran("tasks.task.add") != 1 || p.Ran("tasks.task.delete") != 0 {
		t.Errorf("ran %v", p.ran)
	}
	if w := call(t, p, "POST", target, jsonType, `[]`); w.Code != 400 {
		t.Errorf("an empty batch: %d %s", w.Code, w.Body)
	}
	w = call(t, p, "POST", "/rest/api/batch", jsonType, `{"0":{"method":"tasks.task.get","query":{"id":1}},"auth":"invented-token"}`)
	if !strings.HasPrefix(w.Body.String(), `{"result":[{"item":`) {
		t.Errorf("with its token in the body: %s", w.Body)
	}
}
