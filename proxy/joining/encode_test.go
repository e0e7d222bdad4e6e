package joining

import (
	"encoding/json"
	"testing"

	"b24proxy/proxy/bitrix24"
)

// A batch carries the credential where its reads do, and names its commands by keys that
// begin with a letter.
func TestEncode(t *testing.T) {
	for name, c := range map[string]struct {
		requests []Request
		want     Batch
	}{
		"a webhook": {
			[]Request{get("crm.deal.list.json", "start=0"), post("user.get", `{"ID":"1 2"}`)},
			Batch{"/rest/1/c0de/batch", "", []byte(`{"halt":0,"cmd":{"c0":"crm.deal.list?start=0","c1":"user.get?ID=1%202"}}`)},
		},
		"a token in the query": {
			[]Request{request("GET", "/rest/user.get?a=1&auth=t%2Fx", "")},
			Batch{"/rest/batch", "auth=t%2Fx", []byte(`{"halt":0,"cmd":{"c0":"user.get?a=1"}}`)},
		},
		"a token in the body": {
			[]Request{request("POST", "/rest/user.get", `{"a":1,"access_token":"t\"/"}`, "Content-Type", "application/json")},
			Batch{"/rest/batch", "", []byte(`{"access_token":"t\"/","halt":0,"cmd":{"c0":"user.get?a=1"}}`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var reads []Read
			for _, r := range c.requests {
				read, reason := Prepare(r)
				if reason != "" {
					t.Fatalf("got a call alone for %q, want a read", reason)
				}
				reads = append(reads, read)
			}
			got := Encode(reads)
			if got.Path != c.want.Path || got.Query != c.want.Query || string(got.Body) != string(c.want.Body) {
				t.Errorf("got %s ? %s with %s, want %s ? %s with %s", got.Path, got.Query, got.Body, c.want.Path, c.want.Query, c.want.Body)
			}
		})
	}
}

// Whatever a call holds, its batch is JSON whose commands are reads.
func FuzzEncode(f *testing.F) {
	f.Add("crm.deal.list", "select[]=ID&filter[%3EID]=1", "a=b", false)
	f.Add("user.get.json", "auth=t", `{"filter":{">ID":5,"a":["б","c"]}}`, true)
	f.Add("user.get", "a;b='\"", `{"auth":"x\"y"}`, true)
	f.Fuzz(func(t *testing.T, method, query, body string, isJSON bool) {
		kind := "application/x-www-form-urlencoded"
		if isJSON {
			kind = "application/json"
		}
		path := "/rest/1/c0de/" + method
		r := request("POST", path, body, "Content-Type", kind)
		r.Path, r.Query, r.Call = path, query, bitrix24.ParseCall(path)
		read, reason := Prepare(r)
		if reason != "" {
			return
		}
		b := Encode([]Read{read, read})
		if !json.Valid(b.Body) || !bitrix24.ReadBatch(bitrix24.ParseCall(b.Path), b.Query, "application/json", b.Body) {
			t.Errorf("got %s ? %s with %s, want a batch of reads", b.Path, b.Query, b.Body)
		}
		if commands := bitrix24.Commands(b.Query, "application/json", b.Body); len(commands) != 2 || commands["c1"] != read.Method {
			t.Errorf("got the commands %v, want two of %s", commands, read.Method)
		}
	})
}
