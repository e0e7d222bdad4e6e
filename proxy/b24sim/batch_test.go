package b24sim

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
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
		"cmd[path]": {"crm.deal.get?ID=5$result[old][ID]"},
		"cmd[none]": {"crm.deal.get?ID=$result[gone][ID]"},
	}.Encode())
	// url.Values sorts its keys: the command `new` comes before `old` and `path`.
	for _, part := range []string{`"new":1001`, `"old":{"ID":"1001"`, `"path":{"ID":"51001"`, `"none":{"error":"",`} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("got %s, want %s in it", w.Body, part)
		}
	}
}

// A reference takes all up to the next blank, in any case of its name, although only
// the lower case has answers. One that leads nowhere gives whatever was reached, a value
// of any kind if it is the whole text. Text without brackets stays.
func TestSubstitution(t *testing.T) {
	answers := object("result", object("a", object("ID", "77", "n", 5, "yes", true)),
		"next", &array{}, "total", object("a", 3), "time", &array{}, "error", &array{}, "hint", object("b", "why"))
	for text, want := range map[string]string{
		"$5 and US$total[0]":             `"$5 and US$total[0]"`,
		"US$total[a]":                    `"US3"`,
		"$result[a][ID]":                 `"77"`,
		"$result[a][n]":                  `5`,
		"$result[a][yes]":                `true`,
		"is $result[a][yes]":             `"is $result[a][yes]"`,
		"$result[a][ID]5":                `"77"`,
		"$result[a][ID] $total[a]":       `"77 3"`,
		"$result[a][ID][1]":              `"7"`,
		"$result[a][gone]":               `{"ID":"77","n":5,"yes":true}`,
		"$RESULT[a]":                     `null`,
		"$timezone[a]":                   `[]`,
		"x$timezone[a]":                  `"x$timezone[a]"`,
		"$result":                        `"$result"`,
		"$hint[b]":                       `"why"`,
		"$result[a][n]\v$result[a][ID]!": `"5\u000b77"`,
	} {
		t.Run(text, func(t *testing.T) {
			if got := asJSON(t, newSubstitution(answers).replace(text)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// The portal understands a command as PHP does: it decodes, then substitutes, and all
// values are texts. What is not the plain name of a method is not found.
func TestCommands(t *testing.T) {
	const read = "crm.deal.fields"
	for command, want := range map[string]string{
		read + "?a=1#b=2":              `"result":{"c":{"method":"crm.deal.fields","params":{"a":"1"}}}`,
		read + "?a=1?b=2":              `"params":{"a":"1?b=2"}}`,
		read + "?a=x%00y\x01z":         `"params":{"a":"x\u0000y_z"}}`,
		read + "?a=true&b=null&c[]=":   `"params":{"a":"true","b":"null","c":[""]}}`,
		read + "?7=a&9=b":              `"params":{"7":"a","9":"b"}}`,
		read + "?method=x&ap=y&state=": `"params":{"method":"x","ap":"y"}}`,
		read + "?a=%24total[x]y":       `"params":{"a":[]}}`,
		"CRM.Deal.Fields":              `"result":{"c":{"method":"crm.deal.fields","params":[]}}`,
		read + ".json?a=1":             `{"c":{"error":"ERROR_METHOD_NOT_FOUND",`,
		"/" + read:                     `{"c":{"error":"ERROR_METHOD_NOT_FOUND",`,
		"":                             `{"c":{"error":"ERROR_METHOD_NOT_FOUND",`,
		"download?a=1":                 `{"c":{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED",`,
		"upload":                       `{"c":{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED",`,
		"app.info":                     `{"c":{"error":"ACCESS_DENIED",`,
		"profile?state=x":              `"result_error":[],`,
		"crm.deal.list?start=50":       `"result_total":{"c":137},"result_next":{"c":100}`,
	} {
		t.Run(command, func(t *testing.T) {
			w := call(t, New(Config{Echo: true}), "POST", hook+"batch", jsonType, `{"cmd":{"c":`+asJSON(t, command)+`}}`)
			wantAnswer(t, w, 200, want)
			if strings.Contains(w.Body.String(), "signature") {
				t.Errorf("got %s, want no signature: a batch loses it", w.Body)
			}
		})
	}
}

// A command that is not a text is in neither result nor result_error. An error without a
// code is null there, and does not stop the batch.
func TestBatchOddities(t *testing.T) {
	p := New(Config{Faults: []Fault{
		{Method: "crm.deal.get", Kind: "error", Value: "null"},
		{Method: "crm.lead.get", Kind: "insufficient_scope"},
	}})
	w := call(t, p, "POST", hook+"batch", jsonType, `{"halt":1,"CMD":{}, "cmd":{"n":5,"o":{},"nil":null,"a":"crm.deal.get?ID=1","b":"crm.lead.get?ID=1","c":"profile"}}`)
	wantAnswer(t, w, 200, `{"result":{"result":[],"result_error":{"a":null,"b":{"error":"insufficient_scope","error_description":""}},"result_total":[],`)
}

// A fault of one command can act on others: an exception that is left over changes the
// code of later errors, bad UTF-8 spoils the whole answer, and a PHP error ends all.
func TestBatchWideFaults(t *testing.T) {
	for _, test := range []struct {
		fault  string
		status int
		want   string
		ran    int // the later profile
	}{
		{"crm.deal.get:leftover=ERROR_CORE", 200, `"result_error":{"b":{"error":"ERROR_CORE","error_description":"ID is not defined or invalid."}}`, 1},
		{"crm.deal.get:bad-utf8", 200, `{"error":"WRONG_ENCODING","error_description":"Wrong request encoding"}`, 1},
		{"crm.deal.get:php-fatal", 500, "A error occurred", 0},
	} {
		t.Run(test.fault, func(t *testing.T) {
			p := New(Config{Faults: []Fault{mustFault(t, test.fault)}})
			w := call(t, p, "POST", hook+"batch", form, "cmd[a]=crm.deal.get%3FID=1&cmd[b]=crm.lead.get&cmd[c]=profile")
			wantAnswer(t, w, test.status, test.want)
			if p.Ran("crm.deal.get") != 1 || p.Ran("profile") != test.ran {
				t.Errorf("got the runs %v, want one of crm.deal.get and %d of profile", p.ran, test.ran)
			}
		})
	}
	wantAnswer(t, get(t, New(Config{Faults: []Fault{mustFault(t, "*:bad-utf8")}}), hook+"profile"), 200, "WRONG_ENCODING")
}

// Each entry of result_time has the time of its command alone.
func TestBatchTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Faults: []Fault{mustFault(t, "crm.deal.list:slow=3s"), mustFault(t, "crm.lead.list:slow=1s")}})
		w := call(t, p, "POST", hook+"batch", form, "cmd[a]=crm.deal.list&cmd[b]=crm.lead.list&cmd[c]=profile")
		for _, d := range []string{`"duration":3,`, `"duration":1,`, `"duration":0,`, `"duration":4,`} {
			wantAnswer(t, w, 200, d)
		}
	})
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
