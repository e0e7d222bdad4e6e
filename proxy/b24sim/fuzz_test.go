package b24sim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// The portal answers every request, and an answer of the type JSON is JSON.
func FuzzRequest(f *testing.F) {
	f.Add("/rest/1/c0de/batch", "cmd[a]=crm.deal.get%3FID%3D$result[a", jsonType, `{"cmd":{"b":"crm.deal.list?a[]=1"}}`)
	f.Add("/rest/api/batch", "auth=t", jsonType, `[{"method":"tasks.task.get","query":{"id":1}}]`)
	f.Add("/rest/crm.deal.list.xml", "auth=t&start=-1&filter[>ID]=x", form, "a[b][c]=1&a[b]=2&[]=3&a]=4")
	f.Add("//rest//profile//", "%zz;&=", "multipart/form-data; boundary=b", "--b\r\n\r\n--b--")
	f.Add("/rest/api/1/c0de/tasks.task.list", "pagination[limit]=9&pagination[page]=9223372036854775807", "", "")
	f.Add("/oauth/token", "grant_type=refresh_token", "", "")
	f.Fuzz(func(t *testing.T, path, query, contentType, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		p := New(Config{Operating: Operating{Mode: OperatingDocumented}})
		p.ServeHTTP(w, r)
		if w.Header().Get("Content-Type") == typeJSON && !json.Valid(w.Body.Bytes()) {
			t.Errorf("got %s, want JSON", w.Body)
		}
		_ = p.Calls()[0].String()
	})
}
