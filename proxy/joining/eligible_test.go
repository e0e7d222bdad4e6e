package joining

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"b24proxy/proxy/bitrix24"
)

// post makes a call of a webhook with a JSON body.
func post(method, body string) Request {
	return request(http.MethodPost, "/rest/1/c0de/"+method, body, "Content-Type", "application/json")
}

// get makes a call of a webhook with a query.
func get(method, query string) Request {
	return request(http.MethodGet, "/rest/1/c0de/"+method+"?"+query, "")
}

func request(verb, address, body string, header ...string) Request {
	path, query, _ := strings.Cut(address, "?")
	r := Request{Verb: verb, Path: path, Query: query, Call: bitrix24.ParseCall(path), Header: http.Header{}, Body: []byte(body)}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// What is the same within a batch becomes a command, byte for byte where it was a query
// or a form, and with each byte of a JSON text encoded.
func TestPrepareWritesACommand(t *testing.T) {
	form := "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		request Request
		want    string
	}{
		"no parameters":            {get("crm.deal.fields", ""), "crm.deal.fields?"},
		"an empty object":          {post("crm.deal.fields", " {} "), "crm.deal.fields?"},
		"the method as it came":    {get("CRM.Deal.List", "start=0"), "CRM.Deal.List?start=0"},
		"an address with .json":    {get("crm.deal.list.json", "start=0"), "crm.deal.list?start=0"},
		"an address with .JSON/":   {request("GET", "//rest//1/c0de/crm.deal.list.JSON/?a=1", ""), "crm.deal.list?a=1"},
		"a query":                  {get("crm.deal.list", "select[]=ID&&filter%5B%3EID%5D=1+2%2B&x='|"), "crm.deal.list?select[]=ID&filter%5B%3EID%5D=1+2%2B&x='%7C"},
		"a form":                   {request("POST", "/rest/1/c0de/user.get", "ID=1#2&NAME=п a", "Content-Type", form+"; charset=UTF-8"), "user.get?ID=1%232&NAME=%D0%BF%20a"},
		"JSON":                     {post("crm.deal.list", `{"select":["ID","*"],"filter":{">=ID":-5,"%T":"a b+é&"},"start":50}`), "crm.deal.list?select[0]=ID&select[1]=%2A&filter[%3E%3DID]=-5&filter[%25T]=a%20b%2B%C3%A9%26&start=50"},
		"deep JSON":                {post("user.get", `{"a":{"b":[{"c":"\u0416"}]}}`), "user.get?a[b][0][c]=%D0%96"},
		"a query beside JSON":      {request("POST", "/rest/1/c0de/user.get?bx24_request_id=7", `{"ID":1}`, "Content-Type", "application/json"), "user.get?bx24_request_id=7&ID=1"},
		"a word of SQL by itself":  {post("crm.deal.list", `{"filter":{">=DATE_CREATE":"2026-01-01","TITLE":"selected"}}`), "crm.deal.list?filter[%3E%3DDATE_CREATE]=2026-01-01&filter[TITLE]=selected"},
		"a dangerous text, quoted": {get("crm.deal.list", "filter[T]=%3Cscript%3E"), "crm.deal.list?filter[T]=%3Cscript%3E"},
		"dots in a nested key":     {post("crm.deal.list", `{"filter":{"a.b c":"1"}}`), "crm.deal.list?filter[a.b%20c]=1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, reason := Prepare(c.request)
			if reason != "" || got.command != c.want {
				t.Errorf("got %q, alone for %q, want %q", got.command, reason, c.want)
			}
		})
	}
}

// What a batch would answer differently, or may, is sent alone.
func TestPrepareLeavesCallsAlone(t *testing.T) {
	json := func(body string) Request { return post("crm.deal.list", body) }
	query := func(q string) Request { return get("crm.deal.list", q) }
	headed := func(h ...string) Request { return request("GET", "/rest/1/c0de/user.get", "", h...) }
	for name, c := range map[string]struct {
		request Request
		want    Reason
	}{
		"a write":                       {get("crm.deal.add", ""), Method},
		"a batch":                       {get("batch", ""), Method},
		"a task of the old form":        {get("task.item.list", ""), Method},
		"the profile":                   {get("profile", ""), Method},
		"a read that confirms":          {get("im.v2.Event.get", ""), Method},
		"a read that answers a file":    {get("user.userfield.file.get", ""), Method},
		"a path that is read two ways":  {request("GET", "/rest/1/c0de/x/../crm.deal.list", ""), Method},
		"XML":                           {get("crm.deal.list.xml", ""), Format},
		"REST 3.0":                      {request("POST", "/rest/api/1/c0de/tasks.task.get", ""), Format},
		"HEAD":                          {request("HEAD", "/rest/1/c0de/user.get", ""), Verb},
		"a GET with a body":             {request("GET", "/rest/1/c0de/user.get", "a=1"), Verb},
		"a cookie":                      {headed("Cookie", "a=b"), Header},
		"a range":                       {headed("Range", "bytes=0-1"), Header},
		"a condition":                   {headed("If-None-Match", `"x"`), Header},
		"an encoded body":               {request("POST", "/rest/1/c0de/user.get", "x", "Content-Encoding", "gzip"), Header},
		"no credential":                 {request("GET", "/rest/user.get", ""), Credential},
		"a webhook and a bearer":        {headed("Authorization", "Bearer t"), Credential},
		"two tokens":                    {request("GET", "/rest/user.get?auth=a&access_token=b", ""), Credential},
		"a token that is a number":      {request("POST", "/rest/user.get", `{"auth":1}`, "Content-Type", "application/json"), Credential},
		"multipart":                     {request("POST", "/rest/1/c0de/user.get", "x", "Content-Type", "multipart/form-data; boundary=x"), Body},
		"a body without a type":         {request("POST", "/rest/1/c0de/user.get", "a=1"), Body},
		"another charset":               {request("POST", "/rest/1/c0de/user.get", "a=1", "Content-Type", "application/x-www-form-urlencoded; charset=cp1251"), Body},
		"two types":                     {request("POST", "/rest/1/c0de/user.get", "{}", "Content-Type", "application/json", "Content-Type", "text/plain"), Body},
		"broken JSON":                   {json(`{"a":`), Body},
		"more than an object":           {json(`{} {}`), Body},
		"a list":                        {json(`[]`), Body},
		"JSON in bad UTF-8":             {json("{\"a\":\"\xff\"}"), Body},
		"null":                          {json(`{"a":null}`), Value},
		"a boolean":                     {json(`{"a":{"b":true}}`), Value},
		"a float":                       {json(`{"a":1.0}`), Value},
		"an exponent":                   {json(`{"a":1e3}`), Value},
		"a negative zero":               {json(`{"a":-0}`), Value},
		"an integer that PHP overflows": {json(`{"a":9223372036854775808}`), Value},
		"an empty object":               {json(`{"a":{}}`), Value},
		"an empty list":                 {json(`{"a":[[]]}`), Value},
		"an empty text":                 {json(`{"a":""}`), Value},
		"an empty value":                {query("a=&b=1"), Value},
		"a name without a value":        {query("a"), Value},
		"a lone surrogate":              {json(`{"a":"\ud800"}`), Text},
		"a control character":           {json(`{"a":"\n"}`), Text},
		"a control character, encoded":  {query("a=%0A"), Text},
		"bad UTF-8, encoded":            {query("a=%FF"), Text},
		"a broken escape":               {query("a=%zz"), Text},
		"a fragment":                    {query("a=1#b"), Text},
		"a reference":                   {json(`{"a":"$result[x]"}`), Text},
		"a time zone":                   {query("a=%24timezone[a]"), Text},
		"a dollar in a key":             {query("a[$b]=1"), Text},
		"a tag":                         {json(`{"a":"<b>"}`), Text},
		"a bracket":                     {json(`{"a":"f(x)"}`), Text},
		"a backslash":                   {json(`{"a":"b\\c"}`), Text},
		"a path upwards":                {json(`{"a":"/../"}`), Text},
		"a script":                      {json(`{"a":"java script:x"}`), Text},
		"behavior":                      {json(`{"a":"Behavior: x"}`), Text},
		"an expression":                 {json(`{"a":"an expression"}`), Text},
		"an entity":                     {json(`{"a":"&#60;"}`), Text},
		"SQL":                           {json(`{"a":"select * from b"}`), Text},
		"a word of SQL":                 {json(`{"a":"please insert"}`), Text},
		"a tag in a key":                {json(`{"filter":{"<=ID":5}}`), Text},
		"a tag in a key further up":     {json(`{"<a":{"b":"c"}}`), Text},
		"a dot at the top":              {query("a.b=1"), Name},
		"a space at the top":            {json(`{"a b":1}`), Name},
		"a number at the top":           {json(`{"0":"x"}`), Name},
		"a blank key":                   {json(`{"a":{" ":"x"}}`), Name},
		"an empty key":                  {json(`{"a":{"":"x"}}`), Name},
		"a bracket in a key":            {json(`{"a":{"b]":"x"}}`), Name},
		"a lone bracket":                {query("a[b=1"), Name},
		"text behind a bracket":         {query("a[b]c=1"), Name},
		"a name without a top":          {query("[a]=1"), Name},
		"a key twice":                   {json(`{"a":"b","a":"c"}`), Name},
		"a reserved name":               {query("state=1"), Name},
		"a reserved name in capitals":   {json(`{"CMD":"x"}`), Name},
		"a token in an array":           {request("GET", "/rest/user.get?auth[access_token]=a", ""), Name},
		"a name in query and body":      {request("POST", "/rest/1/c0de/user.get?ID=1", `{"id":"2"}`, "Content-Type", "application/json"), Overlap},
		"500 leaves":                    {json(`{"a":["x"` + strings.Repeat(`,"x"`, 499) + `]}`), Size},
		"500 parameters":                {query(strings.Repeat("a=1&", 500)), Size},
		"32 levels":                     {json(strings.Repeat(`{"a":`, 33) + `"x"` + strings.Repeat("}", 33)), Size},
		"32 keys":                       {query("a" + strings.Repeat("[b]", 32) + "=1"), Size},
		"a long text":                   {json(`{"a":"` + strings.Repeat("é", 20_000) + `"}`), Size},
	} {
		t.Run(name, func(t *testing.T) {
			if got, reason := Prepare(c.request); reason != c.want {
				t.Errorf("got %q, alone for %q, want it alone for %q", got.command, reason, c.want)
			}
		})
	}
}

// Reads are of one group if one batch can carry the credential of each as it was sent.
func TestGroup(t *testing.T) {
	in := func(address string, header ...string) Request { return request("GET", address, "", header...) }
	body := func(body, kind string) Request { return request("POST", "/rest/user.get", body, "Content-Type", kind) }
	const json, form = "application/json", "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		a, b Request
		want bool
	}{
		"the same webhook":               {in("/rest/1/a/user.get?ID=1"), in("//rest/1/a/crm.deal.list.json/?a=b"), true},
		"another webhook":                {in("/rest/1/a/user.get"), in("/rest/1/b/user.get"), false},
		"another user":                   {in("/rest/1/a/user.get"), in("/rest/2/a/user.get"), false},
		"the same token":                 {in("/rest/user.get?auth=t&a=1"), in("/rest/crm.deal.get?a=2&auth=t"), true},
		"another token":                  {in("/rest/user.get?auth=t"), in("/rest/user.get?auth=u"), false},
		"another name of the token":      {in("/rest/user.get?auth=t"), in("/rest/user.get?access_token=t"), false},
		"in the query and in the body":   {in("/rest/user.get?auth=t"), body("auth=t", form), false},
		"in a form and in JSON":          {body("auth=t&a=1", form), body(`{"auth":"t"}`, json), true},
		"the same header":                {in("/rest/user.get", "Authorization", "Bearer t"), in("/rest/user.get", "Authorization", "Bearer t"), true},
		"another header":                 {in("/rest/user.get", "Authorization", "Bearer t"), in("/rest/user.get", "Authorization", "Bearer u"), false},
		"another language":               {in("/rest/1/a/user.get", "Accept-Language", "ru"), in("/rest/1/a/user.get"), false},
		"another id and another program": {in("/rest/1/a/user.get", "X-Request-Id", "1", "User-Agent", "a"), in("/rest/1/a/user.get", "X-Request-Id", "2"), true},
	} {
		t.Run(name, func(t *testing.T) {
			a, reason1 := Prepare(c.a)
			b, reason2 := Prepare(c.b)
			if reason1 != "" || reason2 != "" || (a.Group == b.Group) != c.want {
				t.Errorf("got the groups %x (%q) and %x (%q), want them equal: %v", a.Group, reason1, b.Group, reason2, c.want)
			}
		})
	}
}

// A read shows its method and nothing else, however it is printed.
func TestReadPrintsNoSecret(t *testing.T) {
	r, reason := Prepare(request("GET", "/rest/user.get?auth=s3cret", ""))
	if reason != "" {
		t.Fatalf("got a call alone for %q, want a read", reason)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, r); got != "read user.get" {
			t.Errorf("got %q for %s, want the method alone", got, verb)
		}
	}
}
