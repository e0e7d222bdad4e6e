package b24sim

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := appendJSON(nil, v)
	if err != nil || !json.Valid(b) {
		t.Fatalf("got %s (%v), want JSON", b, err)
	}
	return string(b)
}

// Query and form are read as PHP reads them, also their broken parts.
func TestParseForm(t *testing.T) {
	for form, want := range map[string]string{
		"":                              `[]`,
		"a=1&b=two+words&c=%41":         `{"a":"1","b":"two words","c":"A"}`,
		"a[]=x&a[]=y":                   `{"a":["x","y"]}`,
		"a[1]=x&a[0]=y":                 `{"a":{"1":"x","0":"y"}}`,
		"fields[PHONE][0][VALUE]=5":     `{"fields":{"PHONE":[{"VALUE":"5"}]}}`,
		"cmd[one]=a%3Fx%3D1%26y%3D2":    `{"cmd":{"one":"a?x=1&y=2"}}`,
		"filter[%3EID]=7":               `{"filter":{">ID":"7"}}`,
		"a=1&a=2":                       `{"a":"2"}`,
		"b;c=1&d=%zz&=x&&flag":          `{"b;c":"1","d":"%zz","flag":""}`,
		"a[b=1":                         `{"a_b":"1"}`,
		"a=1&a[b]=2":                    `{"a":{"b":"2"}}`,
		"a" + strings.Repeat("[x]", 99): `[]`,
	} {
		t.Run(form, func(t *testing.T) {
			if got := asJSON(t, parseForm(form)); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// JSON, form and multipart bodies give the same parameters, which replace those of
// the query. A body of another type is not read.
func TestParams(t *testing.T) {
	var multi bytes.Buffer
	w := multipart.NewWriter(&multi)
	_ = w.WriteField("fields[TITLE]", "x")
	_ = w.WriteField("start", "50")
	file, _ := w.CreateFormFile("file", "a.txt")
	_, _ = file.Write([]byte("12345"))
	_ = w.Close()
	for _, test := range []struct{ contentType, body, want string }{
		{"application/json", `{"fields":{"TITLE":"x"},"start":50}`, `{"auth":"t","start":50,"fields":{"TITLE":"x"}}`},
		{"application/json; charset=utf-8", `[{"method":"a"}]`, `{"auth":"t","start":"0","0":{"method":"a"}}`},
		{"application/x-www-form-urlencoded", "fields[TITLE]=x&start=50", `{"auth":"t","start":"50","fields":{"TITLE":"x"}}`},
		{w.FormDataContentType(), multi.String(), `{"auth":"t","start":"50","fields":{"TITLE":"x"},"file":{"name":"a.txt","size":5}}`},
		{"text/plain", `{"start":50}`, `{"auth":"t","start":"0"}`},
		{"", `{"start":50}`, `{"auth":"t","start":"0"}`},
	} {
		t.Run("a body of type "+test.contentType, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/rest/profile?auth=t&start=0", nil)
			r.Header.Set("Content-Type", test.contentType)
			got, err := params(r, []byte(test.body), false)
			if err != nil || asJSON(t, got) != test.want {
				t.Errorf("got %s (%v), want %s", asJSON(t, got), err, test.want)
			}
		})
	}
}

// A call with a body that cannot be read gets 400 and does not run.
func TestBrokenBodies(t *testing.T) {
	for _, test := range []struct{ contentType, body string }{
		{"application/json", `{"fields":`},
		{"application/json", `{} {}`},
		{"application/json", `{"a":]`},
		{"application/json", strings.Repeat("[", 1000)},
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx"},
		{"multipart/form-data", "x"},
	} {
		p := New(Config{})
		w := call(t, p, "POST", hook+"crm.deal.add", test.contentType, test.body)
		if w.Code != 400 || p.Ran("crm.deal.add") != 0 {
			t.Errorf("%s %.20s: got %d %s and %d run, want 400 and none", test.contentType, test.body, w.Code, w.Body, p.Ran("crm.deal.add"))
		}
	}
}
