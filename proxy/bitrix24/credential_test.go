package bitrix24

import (
	"strings"
	"testing"
)

const formType = "application/x-www-form-urlencoded"

// The same secret has the same ID wherever it is found, and another has another.
func TestFindCredential(t *testing.T) {
	oauth := Credential{Kind: "oauth", ID: idOf("oauth", "invented")}
	none := Credential{Kind: "none"}
	const boundary = "multipart/form-data; boundary=x"
	part := func(name string) string {
		return "--x\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n1\r\n" +
			"--x\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\ninvented\r\n--x--\r\n"
	}
	empty := "--x\r\nContent-Disposition: form-data; name=\"auth\"\r\n\r\n\r\n" + part("access_token")
	padding := strings.Repeat("x", maxCredentialBody)
	tests := []struct {
		name, query, header, contentType, body string
		want                                   Credential
	}{
		{"query", "auth=invented", "", "", "", oauth},
		{"query, second name", "b;c&x=%zz&access_token=invented", "", "", "", oauth},
		{"query, percent-encoded", "%61uth=%69nvented", "", "", "", oauth},
		{"header", "", "bearer  invented ", "", "", oauth},
		{"header of the proxy itself", "", "Basic invented", "", "", none},
		{"form", "", "", formType, "id=1&auth=invented", oauth},
		{"form, PHP array", "", "", formType, "auth%5Baccess_token%5D=invented&auth[domain]=d", oauth},
		{"form without a type", "", "", "", "auth=invented", oauth},
		{"form, empty", "", "", formType, "auth=", none},
		{"form, as long as is searched", "", "", formType, "x=" + padding[:maxCredentialBody-len("x=&auth=invented")] + "&auth=invented", oauth},
		{"form, too far behind", "", "", formType, "x=" + padding + "&auth=invented", none},
		{"form, cut inside the token", "", "", formType, "x=" + padding[:maxCredentialBody-10] + "&auth=invented", none},
		{"JSON", "", "", "application/json", ` {"id":1,"auth":"invented"}`, oauth},
		{"JSON after a byte-order mark", "", "", "text/plain", "\ufeff{\"access_token\":\"invented\"}", oauth},
		{"JSON, PHP array", "", "", "application/json", `{"auth":{"domain":"d","access_token":"invented"}}`, oauth},
		{"JSON, cut after the token", "", "", "application/json", `{"auth":"invented","x":"` + padding + `"}`, oauth},
		{"JSON, not at the top", "", "", "application/json", `{"cmd":{"auth":"invented"}}`, none},
		{"JSON, a number", "", "", "application/json", `{"auth":1}`, none},
		{"JSON list", "", "", "application/json", `[{"auth":"invented"}]`, none},
		{"multipart", "", "", boundary, part("auth"), oauth},
		{"multipart, the first name empty", "", "", boundary, empty, oauth},
		{"multipart, another name", "", "", boundary, part("other"), none},
		{"multipart without a boundary", "", "", "multipart/form-data", part("auth"), none},
		{"nothing", "", "", "", "", none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := FindCredential(ParseCall("/rest/crm.deal.list"), test.query, test.header, test.contentType, []byte(test.body))
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// A webhook is one credential for both generations and for all its methods.
func TestWebhookCredential(t *testing.T) {
	find := func(path string) Credential {
		return FindCredential(ParseCall(path), "auth=other", "", "", nil)
	}
	one := find("/rest/1/inventedcode1234/crm.deal.list")
	if one.Kind != "webhook" || len(one.ID) != 12 {
		t.Errorf("got %+v, want a webhook with 12 digits", one)
	}
	if same := find("/rest/api/1//inventedcode1234/tasks.task.get"); same != one {
		t.Errorf("got %+v for version 3, want %+v as for version 2", same, one)
	}
	if other := find("/rest/1/inventedcode5678/crm.deal.list"); other == one {
		t.Errorf("got the ID %s for two webhooks, want two", other.ID)
	}
}
