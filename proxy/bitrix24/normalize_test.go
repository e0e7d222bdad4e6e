package bitrix24

import (
	"encoding/json"
	"fmt"
	"testing"
)

// infoOf returns an answer's ErrorInfo with the source that the proxy sets.
func infoOf(a Answer) ErrorInfo {
	info := a.ErrorInfo()
	info.Source = "portal"
	return info
}

// Each code of the table gets its documented status, whatever status it came with,
// in JSON and in XML, and keeps the portal's own words.
func TestSystemErrorsAtAnyStatus(t *testing.T) {
	for _, code := range SystemErrors() {
		for _, status := range []int{200, 400, 401, 403, 404, 500, 503, code.Status} {
			if Lookup(code.Code).Code == codeV3AccessDenied && status != 401 {
				continue
			}
			description := "portal says: <b>no</b> & subscription" // the word makes ACCESS_DENIED the portal's
			bodies := map[string]string{
				webhook + "crm.deal.add": fmt.Sprintf(`{"error":%q,"error_description":%q}`, code.Code, description),
				webhook + "crm.deal.add.xml": fmt.Sprintf(`<response><error>%s</error><error_description>portal says: &lt;b&gt;no&lt;/b&gt; &amp; subscription</error_description></response>`,
					code.Code),
				"/rest/api/tasks.task.add": fmt.Sprintf(`{"error":{"code":%q,"message":%q}}`, code.Code, description),
			}
			for path, body := range bodies {
				a := Examine(ParseCall(path), status, typeJSON, []byte(body))
				if a.Kind != KindSystemError || a.Known.Code != code.Code || a.Executed() != code.Ran || a.Description != description {
					t.Errorf("%s at %d from %s: got %v %v, executed %v, %q, want a system error, executed %v, %q", code.Code, status, path, a.Kind, a.Known, a.Executed(), a.Description, code.Ran, description)
					continue
				}
				got, _, out := a.Normalized(infoOf(a))
				if got != code.Status {
					t.Errorf("%s at %d from %s: got the status %d, want %d", code.Code, status, path, got, code.Status)
				}
				if again := Examine(a.call, got, "", out); again.Code != code.Code || again.Description != description {
					t.Errorf("%s from %s: got %q, %q when it is normalized twice, want the same as once", code.Code, path, again.Code, again.Description)
				}
			}
		}
	}
}

// A system error keeps the portal's words and further keys in their order, and gets
// the documented text if the portal sent none.
func TestNormalizedKeepsThePortalsWords(t *testing.T) {
	const proxy = `"proxy":{"source":"portal","reason":"auth","executed":"no","retryable":false,"portal_status":200,"request_id":"<&>"}`
	tests := []struct{ path, body, want string }{
		{"/rest/a.b", `{"error":" Expired_Token ","error_description":"<b>&</b> \u0441","argument": {"x":1}}`,
			`{"error":"Expired_Token","error_description":"<b>&</b> с","argument":{"x":1},` + proxy + `}`},
		{"/rest/a.b", `{"x":1,"error":"expired_token","proxy":"theirs","x":2}`,
			`{"x":2,"error":"expired_token",` + proxy + `,"error_description":"The access token provided has expired"}`},
		{"/rest/a.b", `{"error":"expired_token","error_description":null}`,
			`{"error":"expired_token","error_description":"The access token provided has expired",` + proxy + `}`},
		{"/rest/api/a.b", `{"error":{"message":"","code":"expired_token","validation":[{"field":"f"}]},"time":{}}`,
			`{"error":{"message":"The access token provided has expired","code":"expired_token","validation":[{"field":"f"}]},"time":{},` + proxy + `}`},
		{"/rest/api/a.b", `{"error":"expired_token","error_description":"flat"}`,
			`{"error":"expired_token","error_description":"flat",` + proxy + `}`},
		{"/rest/a.b", `<response><error>expired_token</error></response>`,
			`{"error":"expired_token","error_description":"The access token provided has expired",` + proxy + `}`},
	}
	for _, test := range tests {
		a := Examine(ParseCall(test.path), 200, "", []byte(test.body))
		p := infoOf(a)
		p.RequestID = "<&>"
		if status, _, got := a.Normalized(p); status != 401 || string(got) != test.want || !json.Valid(got) {
			t.Errorf("%s:\n got %d %s\nwant 401 %s", test.body, status, got, test.want)
		}
	}
}

// The same is true for XML, which is always well-formed when it leaves.
func TestNormalizedXML(t *testing.T) {
	const proxy = `<proxy><source>portal</source><reason>auth</reason><executed>no</executed><retryable>false</retryable>` +
		`<portal_status>200</portal_status><request_id>&lt;&amp;&gt;</request_id></proxy>`
	const documented = `<error_description>The access token provided has expired</error_description>`
	tests := []struct{ body, want string }{
		{`<?xml version="1.0"?><response> <error> expired_token </error><error_description>a &lt; b</error_description><argument>x</argument></response>`,
			`<response><error>expired_token</error><error_description>a &lt; b</error_description> <argument>x</argument>` + proxy + `</response>`},
		{`<response><error>expired_token</error><error_description>a & b<br></error_description><x><y></x></response>`,
			`<response><error>expired_token</error><error_description>a &amp; b&lt;br&gt;</error_description>` + proxy + `</response>`},
		{`<response><error>expired_token</error><error_description/><proxy>theirs</proxy></response>`,
			`<response><error>expired_token</error>` + documented + proxy + `</response>`},
		{`{"error":"expired_token"}`,
			`<response><error>expired_token</error>` + documented + proxy + `</response>`},
	}
	for _, test := range tests {
		a := Examine(ParseCall("/rest/a.b.xml"), 200, "", []byte(test.body))
		p := infoOf(a)
		p.RequestID = "<&>"
		status, contentType, got := a.Normalized(p)
		if status != 401 || contentType != typeXML || string(got) != test.want || !wellFormed(got) {
			t.Errorf("%s:\n got %d %s\nwant 401 %s", test.body, status, got, test.want)
		}
	}
}

// No error leaves with the status of a success: each code of the table leaves with
// its own, in any notation, and whether the portal or a method sent it.
func TestNoErrorLeavesAsASuccess(t *testing.T) {
	for _, notation := range []struct{ path, body string }{
		{"/rest/crm.deal.add", `{"error":%q}`},
		{"/rest/crm.deal.add", `{"error":%q,"error_description":"of a method"}`},
		{"/rest/crm.deal.add.xml", `<response><error>%[1]s</error></response>`},
		{"/rest/api/tasks.task.add", `{"error":{"code":%q,"message":"m"}}`},
	} {
		for status := 200; status < 300; status++ {
			for _, code := range SystemErrors() {
				body := fmt.Sprintf(notation.body, code.Code)
				a := Examine(ParseCall(notation.path), status, typeJSON, []byte(body))
				if got, _, _ := a.Normalized(infoOf(a)); got != code.Status || got < 400 || a.Code != code.Code {
					t.Fatalf("%s at %d, %v %q: got the status %d, want %d", body, status, a.Kind, a.Code, got, code.Status)
				}
			}
			body := fmt.Sprintf(notation.body, "ERROR_CORE")
			a := Examine(ParseCall(notation.path), status, typeJSON, []byte(body))
			if got, _, _ := a.Normalized(infoOf(a)); got != 400 {
				t.Fatalf("%s at %d: got the status %d, want 400", body, status, got)
			}
		}
	}
}
