package bitrix24

import "testing"

// What an operator needs is kept, and what opens a portal is masked.
func TestRedact(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"nothing to hide", "nothing to hide"},
		{"/rest/crm.deal.list.json?start=50", "/rest/crm.deal.list.json?start=50"},
		{"/rest/api/tasks.task.get", "/rest/api/tasks.task.get"},
		{"/rest/1/inventedcode1234/crm.deal.list", "/rest/1/***/crm.deal.list"},
		{"/rest/1/code/", "/rest/1/***/"},
		{"/rest/1/code", "/rest/1/***"},
		{"/rest/login/inventedcode1234/batch.json", "/rest/***/***/batch.json"},
		{"/rest/inventedcode1234/crm.deal.list", "/rest/***/***"},
		{"/rest/inventedcode1234.json", "/rest/***"},
		{"/rest/1/./code/batch", "/rest/1/***/***/***"},
		{"/rest/api/1/code/tasks.task.get", "/rest/api/1/***/tasks.task.get"},
		{"//rest//1//code//batch", "//rest//1/***/batch"},
		{"/rest%2F1%2fcode%252Fbatch", "/rest%2F1/***/batch"},
		{"/r%65st/1/code/batch", "/r%65st/1/***/batch"},
		{`{"url":"https:\/\/acme.bitrix24.com\/rest\/1\/code\/batch"}`, `{"url":"https:\/\/acme.bitrix24.com\/rest\/1/***/batch"}`},
		{`Get "https://acme.bitrix24.com/rest/1/code/batch": EOF`, `Get "https://acme.bitrix24.com/rest/1/***/batch": EOF`},
		{"/rest/batch?auth=abc&x=1&access_token=d", "/rest/batch?auth=***&x=1&access_token=***"},
		{"/rest/batch?%61uth=abc;client_secret=d", "/rest/batch?%61uth=***;client_secret=***"},
		{"auth[access_token]=abc&refresh_token=d", "auth[access_token]=***&refresh_token=***"},
		{"/rest/download.json?token=disk%7Cabc%3D", "/rest/download.json?token=***"},
		{"author=me&tokens=1", "author=me&tokens=1"},
		{`{"auth": "ab\"c", "id":1}`, `{"auth": "***\"c", "id":1}`},
		{`{\"access_token\":\"abc\"}`, `{\"access_token\":\"***\"}`},
		{"Authorization: Bearer abc.def", "Authorization: Bearer ***"},
		{"http://user:key@127.0.0.1:8080/", "http://***@127.0.0.1:8080/"},
	}
	for _, test := range tests {
		if got := Redact(test.in); got != test.want {
			t.Errorf("Redact(%q):\n got %q\nwant %q", test.in, got, test.want)
		}
	}
}
