package bitrix24

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Each form of address is read as the portal reads it.
func TestParseCall(t *testing.T) {
	const code = "inventedcode1234"
	tests := []struct {
		path string
		want Call
	}{
		{"/", Call{}},
		{"/disk/showFile/1/", Call{}},
		{"/oauth/token/", Call{}},
		{"/restaurant/crm.deal.list", Call{}},
		{"/rest", Call{Version: 2}},
		{"/rest/", Call{Version: 2}},
		{"/rest/api/", Call{Version: 3}},
		{"/rest/crm.deal.list", Call{Version: 2, Method: "crm.deal.list"}},
		{"/rest/crm.deal.list/", Call{Version: 2, Method: "crm.deal.list"}},
		{"//rest//crm.deal.list.json//", Call{Version: 2, Method: "crm.deal.list"}},
		{"/rest/crm.deal.list.xml", Call{Version: 2, Method: "crm.deal.list", XML: true}},
		{"/rest/catalog.priceType.getFields", Call{Version: 2, Method: "catalog.pricetype.getfields"}},
		{"/rest/1/" + code + "/crm.deal.list.json", Call{Version: 2, Method: "crm.deal.list", Webhook: true}},
		{"/rest/some.login/" + code + "/batch", Call{Version: 2, Method: "batch", Webhook: true}},
		{"/rest/1/" + code + "/", Call{Version: 2, Webhook: true}},
		{"/rest/1/" + code, Call{Version: 2, Webhook: true}},
		{"/rest/1/" + code + "/a/b", Call{Version: 2, Webhook: true}},
		{"/rest%2F1/%69nventedcode1234/crm%2Edeal.list", Call{Version: 2, Webhook: true}},
		{"/rest/../rest/./profile", Call{Version: 2}},
		{"/rest/1/" + code + "/crm.deal.add/../crm.deal.list.xml", Call{Version: 2, XML: true, Webhook: true}},
		{"/rest/crm.deal.add/../../upload/x", Call{Version: 2}},
		{"/upload/%2e%2e%2Frest/crm.deal.add", Call{Version: 2}},
		{"/upload/a%20b.txt", Call{}},
		{"/rest/api/tasks.task.get", Call{Version: 3, Method: "tasks.task.get"}},
		{"/rest/api/1/" + code + "/tasks.task.get/", Call{Version: 3, Method: "tasks.task.get", Webhook: true}},
		{"/rest/api/1/" + code + "/", Call{Version: 3, Webhook: true}},
		{"/rest/api/tasks.task.get.json", Call{Version: 3}},
		{"/rest/download.json", Call{Version: 2, Method: "download"}},
		{"/rest/upload", Call{Version: 2, Method: "upload"}},
		{"/rest/crm.controller.item.getFile", Call{Version: 2, Method: "crm.controller.item.getfile"}},
		{"/rest/disk.file.get", Call{Version: 2, Method: "disk.file.get"}},
		{"/rest/" + code, Call{Version: 2}},
		{"/rest/fifteen_letters", Call{Version: 2, Method: "fifteen_letters"}},
		{"/rest/sixteen__letters", Call{Version: 2}},
		{"/re%73t/1/" + code, Call{Version: 2, Webhook: true}},
		{"/rest/crm deal", Call{Version: 2}},
		{"/rest/%zz", Call{Version: 2}},
		{"/rest/a." + strings.Repeat("b", maxMethod-2), Call{Version: 2, Method: "a." + strings.Repeat("b", maxMethod-2)}},
		{"/rest/a." + strings.Repeat("b", maxMethod-1), Call{Version: 2}},
	}
	for _, test := range tests {
		got := ParseCall(test.path)
		if (got.webhook != "") != got.Webhook {
			t.Errorf("ParseCall(%q): got the ID %q, want one for a webhook alone (%v)", test.path, got.webhook, got.Webhook)
		}
		got.webhook = ""
		if got != test.want {
			t.Errorf("ParseCall(%q): got %+v, want %+v", test.path, fields(got), fields(test.want))
		}
	}
}

// fields returns a Call without its String method.
func fields(c Call) any {
	type plain Call
	return plain(c)
}

// No way of printing a call shows the webhook's code.
func TestCallPrintsNoSecret(t *testing.T) {
	c := ParseCall("/rest/1/inventedcode1234/crm.deal.list")
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		if text := fmt.Sprintf(format, c); strings.Contains(text, "inventedcode") {
			t.Errorf("%s: got %s, want no part of the code", format, text)
		}
	}
	if got, want := c.String(), "v2 crm.deal.list"; got != want {
		t.Errorf("String: got %q, want %q", got, want)
	}
}

func lines(tb testing.TB, file string) []string {
	tb.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Fields(string(data))
}

// A path that servers may read in two ways is never that of a read, however it
// ends. The paths that clients really send are.
func TestPathsReadInTwoWays(t *testing.T) {
	const hook = "/rest/1/inventedcode1234/"
	for _, path := range []string{
		hook + "crm.deal.add/../crm.deal.list", hook + "crm.deal.add%2f..%2fcrm.deal.list", hook + "crm.deal.add/%2e%2e/crm.deal.list",
		hook + "crm.deal.add/.%2E/crm.deal.list", hook + "./crm.deal.list", hook + "%2e/crm.deal.list", hook + "crm.deal.list/..",
		hook + "crm.deal.add%3f/../crm.deal.list", hook + "crm.deal.add%3f%2f..%2fcrm.deal.list", hook + "crm.deal.add%23/../crm.deal.list",
		hook + "crm.deal.add#/../crm.deal.list", hook + "crm.deal.add;/../crm.deal.list", hook + "crm.deal.list;x=1", "/rest;x/crm.deal.list",
		hook + `crm.deal.add\..\crm.deal.list`, hook + `..\crm.deal.list`, "/rest/1/a%5c..%5cb/crm.deal.list", "/rest/1%2f/x/crm.deal.list",
		"/rest/a%5cb/x/crm.deal.list", "/rest/a%3bb/x/crm.deal.list", "/rest/a%3fb/x/crm.deal.list", "/rest/a%23b/x/crm.deal.list",
		"/rest/%2e%2e/x/crm.deal.list", "/rest/a%2eb/x/crm.deal.list", "/rest/a%00b/x/crm.deal.list", "/rest/a%0ab/x/crm.deal.list",
		"/rest/a%252fb/x/crm.deal.list", "/rest/%252e%252e/x/crm.deal.list", "/rest/%zz/x/crm.deal.list", "/rest/%c0%af/x/crm.deal.list",
		"/rest/%c0%ae%c0%ae/x/crm.deal.list", "/rest/%ef%bc%8f/x/crm.deal.list", "/rest/.../x/crm.deal.list",
		hook + "crm.deal.l%69st", hook + "crm.deal.%6cist", hook + "crm.deal.list%00", hook + "crm.deal.list%20", hook + "crm.deal.list%", hook + "crm.deal.list.json%20",
		"/r%65st/crm.deal.list", "/re%c5%bft/crm.deal.list", "/rest/a%70i/crm.deal.list", "/x/../rest/crm.deal.list", "/rest/1/code%20/crm.deal.list",
	} {
		if c := ParseCall(path); c.Read() || c.Method != "" {
			t.Errorf("%s: got read %v and the method %q, want neither", path, c.Read(), c.Method)
		}
	}
	for _, path := range []string{
		hook + "crm.deal.list", "//rest//1//inventedcode1234//crm.deal.list//", hook + "crm.deal.list.json", hook + "crm.deal.list.JSON/", hook + "CRM.Deal.List",
		"/REST/crm.deal.list", "/rest/1/inventedcode1234AZaz09/crm.deal.list", "/rest/%D0%B8%D0%B2%D0%B0%D0%BD/inventedcode1234/crm.deal.list", "/rest/иван/inventedcode1234/crm.deal.list.xml",
		"/rest/ivan.p%40example.com/inventedcode1234/crm.deal.list", "/rest/ivan@example.com/inventedcode1234/crm.deal.list",
		"/rest/j%C3%B6rg%20m/inventedcode1234/crm.deal.list", "/rest/api/%D0%B8/inventedcode1234/tasks.task.list",
	} {
		if c := ParseCall(path); !c.Read() || strings.Contains(path, "inventedcode") && !c.Webhook {
			t.Errorf("%s: got read %v and webhook %v, want both", path, c.Read(), c.Webhook)
		}
	}
}

// A call whose address is not understood may be a batch of version 3, of which a
// part ran before its error.
func TestUnknownMethodMayBeABatch(t *testing.T) {
	body := []byte(`{"error":{"code":"BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION"}}`)
	for path, want := range map[string]Ran{"/rest/api/x/../batch": RanUnknown, "/rest/x/..%2fapi/batch": RanUnknown, "/rest/api/batch": RanUnknown, "/rest/api/tasks.task.add": RanNo} {
		if got := Examine(ParseCall(path), 429, typeJSON, body).Executed(); got != want {
			t.Errorf("%s: got executed %v, want %v", path, got, want)
		}
	}
}

// Of all documented methods, exactly the 586 reads count as reads, except those
// that confirm events or answer with a file, and also profile.
func TestReadsAreExactlyTheDocumentedOnes(t *testing.T) {
	reads := make(map[string]bool)
	for _, method := range lines(t, "readonly-methods.txt") {
		reads[method] = true
	}
	if len(reads) != 586 {
		t.Fatalf("got %d methods that read, want 586", len(reads))
	}
	reads["profile"] = true
	for _, method := range []string{"user.userfield.file.get", "im.v2.Event.get", "imbot.v2.Event.get"} {
		reads[method] = false
	}
	for _, method := range lines(t, "methods.txt") {
		for _, prefix := range []string{"/rest/", "/rest/1/inventedcode1234/", "/rest/api/"} {
			c := ParseCall(prefix + method)
			if c.Method != strings.ToLower(method) {
				t.Errorf("%s%s: got the method %q", prefix, method, c.Method)
			}
			if c.Read() != reads[method] {
				t.Errorf("%s%s: got read %v, want %v", prefix, method, c.Read(), reads[method])
			}
		}
	}
	for _, method := range lines(t, "methods-v3.txt") {
		if c := ParseCall("/rest/api/" + method); c.Method != method {
			t.Errorf("%s: got the method %q", method, c.Method)
		}
	}
}
