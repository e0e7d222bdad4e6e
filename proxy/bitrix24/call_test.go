package bitrix24

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Every form of address is read as the portal reads it.
func TestParseCall(t *testing.T) {
	const code = "inventedcode1234"
	tests := []struct {
		path, query string
		want        Call
	}{
		{"/", "", Call{}},
		{"/disk/showFile/1/", "", Call{}},
		{"/oauth/token/", "", Call{}},
		{"/restaurant/crm.deal.list", "", Call{}},
		{"/rest", "", Call{Version: 2}},
		{"/rest/", "", Call{Version: 2}},
		{"/rest/api/", "", Call{Version: 3}},
		{"/rest/crm.deal.list", "", Call{Version: 2, Method: "crm.deal.list"}},
		{"/rest/crm.deal.list/", "", Call{Version: 2, Method: "crm.deal.list"}},
		{"//rest//crm.deal.list.json//", "", Call{Version: 2, Method: "crm.deal.list"}},
		{"/rest/crm.deal.list.xml", "", Call{Version: 2, Method: "crm.deal.list", XML: true}},
		{"/rest/catalog.priceType.getFields", "", Call{Version: 2, Method: "catalog.pricetype.getfields"}},
		{"/rest/1/" + code + "/crm.deal.list.json", "", Call{Version: 2, Method: "crm.deal.list", Webhook: true}},
		{"/rest/some.login/" + code + "/batch", "", Call{Version: 2, Method: "batch", Webhook: true}},
		{"/rest/1/" + code + "/", "", Call{Version: 2, Webhook: true}},
		{"/rest/1/" + code, "", Call{Version: 2, Webhook: true}},
		{"/rest/1/" + code + "/a/b", "", Call{Version: 2, Webhook: true}},
		{"/rest%2F1/%69nventedcode1234/crm%2Edeal.list", "", Call{Version: 2, Method: "crm.deal.list", Webhook: true}},
		{"/rest/../rest/./profile", "", Call{Version: 2, Method: "profile"}},
		{"/rest/api/tasks.task.get", "", Call{Version: 3, Method: "tasks.task.get"}},
		{"/rest/api/1/" + code + "/tasks.task.get/", "", Call{Version: 3, Method: "tasks.task.get", Webhook: true}},
		{"/rest/api/1/" + code + "/", "", Call{Version: 3, Webhook: true}},
		{"/rest/api/tasks.task.get.json", "", Call{Version: 3}},
		{"/rest/download.json", "token=a", Call{Version: 2, Method: "download", File: true}},
		{"/rest/upload", "", Call{Version: 2, Method: "upload", File: true}},
		{"/rest/crm.controller.item.getFile", "x=%zz&b;c&token=a", Call{Version: 2, Method: "crm.controller.item.getfile", File: true}},
		{"/rest/disk.file.get", "mytoken=a", Call{Version: 2, Method: "disk.file.get"}},
		{"/rest/" + code, "", Call{Version: 2}},
		{"/rest/crm deal", "", Call{Version: 2}},
		{"/rest/%zz", "", Call{Version: 2}},
		{"/rest/a." + strings.Repeat("b", maxMethod), "", Call{Version: 2}},
	}
	for _, test := range tests {
		got := ParseCall(test.path, test.query)
		if (got.webhook != "") != got.Webhook {
			t.Errorf("ParseCall(%q): webhook %v has ID %q", test.path, got.Webhook, got.webhook)
		}
		got.webhook = ""
		if got != test.want {
			t.Errorf("ParseCall(%q, %q) = %+v, want %+v", test.path, test.query, fields(got), fields(test.want))
		}
	}
}

// fields shows a Call without its String method.
func fields(c Call) any {
	type plain Call
	return plain(c)
}

// No way of printing a call shows the webhook's code.
func TestCallPrintsNoSecret(t *testing.T) {
	c := ParseCall("/rest/1/inventedcode1234/crm.deal.list", "")
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "inventedcode") {
			t.Errorf("%s prints %s", format, text)
		}
	}
	if got, want := c.String(), "v2 crm.deal.list"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func lines(t testing.TB, file string) []string {
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// Of all documented methods, exactly the 586 reads are taken for reads.
func TestReadsAreExactlyTheDocumentedOnes(t *testing.T) {
	reads := make(map[string]bool)
	for _, method := range lines(t, "readonly-methods.txt") {
		reads[method] = true
	}
	if len(reads) != 586 {
		t.Fatalf("%d read methods, want 586", len(reads))
	}
	for _, method := range lines(t, "methods.txt") {
		for _, prefix := range []string{"/rest/", "/rest/1/inventedcode1234/", "/rest/api/"} {
			c := ParseCall(prefix+method, "")
			if c.Method != strings.ToLower(method) {
				t.Errorf("%s%s: method %q", prefix, method, c.Method)
			}
			if c.Read() != reads[method] {
				t.Errorf("%s%s: read %v", prefix, method, c.Read())
			}
		}
	}
	for _, method := range lines(t, "methods-v3.txt") {
		if c := ParseCall("/rest/api/"+method, ""); c.Method != method {
			t.Errorf("%s: method %q", method, c.Method)
		}
	}
	if ParseCall("/rest/disk.file.get", "token=a").Read() {
		t.Error("a signed address counts as a read")
	}
}
