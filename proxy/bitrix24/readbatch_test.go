package bitrix24

import "testing"

const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"
)

// A batch is a read when all its commands are, wherever they are.
func TestBatchOfReads(t *testing.T) {
	for _, b := range []struct{ path, query, contentType, body string }{
		{"/rest/batch", "", asJSON, `{"halt":0,"cmd":{"a":"User.get?ID=1","b":"crm.deal.list"}}`},
		{"/rest/1/inventedcode1234/batch.json", "", asJSON + "; charset=UTF-8", ` {"cmd":["profile","crm.deal.list?filter[>ID]=$result[0]#x"],"auth":"t"}`},
		{"/rest/batch", "", asForm, "cmd%5B0%5D=user.get%3FID%3D1&cmd[b]=crm.deal.fields&halt=0"},
		{"/rest/batch", "", asForm + ";charset=utf-8", "cmd[]=user.get&cmd[]=crm.deal.list"},
		{"/rest/batch", "cmd[0]=user.get&cmd[1]=crm.deal.list%3Fstart%3D50&auth=t", "", ""},
		{"/rest/batch.xml", "+cmd[0]=user.get", asJSON, `{"CMD":{"a":"crm.deal.list"}}`},
		{"/rest/api/batch", "", asJSON, `[{"method":"tasks.task.get","query":{"id":1}},{"method":"tasks.task.list","as":"a","parallel":true}]`},
		{"/rest/api/batch", "bx24_request_id=1", asJSON, `{"auth":"t","0":{"method":"tasks.task.get"}}`},
	} {
		if !ReadBatch(ParseCall(b.path), b.query, b.contentType, []byte(b.body)) {
			t.Errorf("%s?%s %s %s: got a write, want a read", b.path, b.query, b.contentType, b.body)
		}
	}
}

// A batch is not a read if it has a write, or anything that PHP may understand in
// another way.
func TestBatchThatMayWrite(t *testing.T) {
	const reads = `{"cmd":["user.get"]}`
	for name, b := range map[string]struct{ path, query, contentType, body string }{
		"another call":                      {"/rest/crm.deal.add", "cmd[0]=user.get", "", ""},
		"an address read in two ways":       {"/rest/x/../batch", "cmd[0]=user.get", "", ""},
		"no commands":                       {"/rest/batch", "", "", ""},
		"an empty list":                     {"/rest/batch", "", asJSON, `{"cmd":[]}`},
		"an empty list beside a command":    {"/rest/batch", "cmd[0]=user.get", asJSON, `{"cmd":[]}`},
		"a write among reads":               {"/rest/batch", "", asJSON, `{"cmd":["user.get","crm.deal.add"]}`},
		"a write in the query":              {"/rest/batch", "cmd[0]=crm.deal.add", asJSON, reads},
		"a write in the body":               {"/rest/batch", "cmd[0]=user.get", asForm, "cmd[0]=crm.deal.add"},
		"a write before its duplicate":      {"/rest/batch", "cmd[0]=crm.deal.add&cmd[0]=user.get", "", ""},
		"a write in a second cmd":           {"/rest/batch", "", asJSON, `{"cmd":["crm.deal.add"],"cmd":["user.get"]}`},
		"a write in CMD":                    {"/rest/batch", "cmd[0]=user.get&CMD[1]=crm.deal.add", "", ""},
		"a write behind blanks":             {"/rest/batch", "cmd[0]=user.get&%20+cmd[1]=crm.deal.add", "", ""},
		"a write behind a semicolon":        {"/rest/batch", "cmd[0]=user.get&a=b;cmd[1]=crm.deal.add", "", ""},
		"a write in a name with NUL":        {"/rest/batch", "cmd[0]=user.get&cmd%00[1]=crm.deal.add", "", ""},
		"a write in a name with a bracket":  {"/rest/batch", "cmd[0]=user.get&cmd[1=crm.deal.add", "", ""},
		"words behind the bracket":          {"/rest/batch", "cmd[0]=user.get&cmd[1]x=crm.deal.add", "", ""},
		"a nested command":                  {"/rest/batch", "cmd[0][a]=user.get", "", ""},
		"a nested command in JSON":          {"/rest/batch", "", asJSON, `{"cmd":[["user.get"]]}`},
		"cmd without brackets":              {"/rest/batch", "cmd=user.get", "", ""},
		"cmd as text":                       {"/rest/batch", "", asJSON, `{"cmd":"user.get"}`},
		"brackets in a name of JSON":        {"/rest/batch", "cmd[0]=user.get", asJSON, `{"cmd[1]":"crm.deal.add"}`},
		"an escape that is none":            {"/rest/batch", "cmd[0]=user.get%zz", "", ""},
		"a file":                            {"/rest/batch", "cmd[0]=user.userfield.file.get", "", ""},
		"confirmed events":                  {"/rest/batch", "cmd[0]=im.v2.Event.get", "", ""},
		"a batch inside":                    {"/rest/batch", "cmd[0]=batch", "", ""},
		"a slash before the method":         {"/rest/batch", "cmd[0]=/user.get", "", ""},
		"a scheme":                          {"/rest/batch", "cmd[0]=crm.deal.add:user.get", "", ""},
		"a method cut off":                  {"/rest/batch", "cmd[0]=crm.deal.add%23.list", "", ""},
		"a format":                          {"/rest/batch", "cmd[0]=user.get.json", "", ""},
		"a blank before the method":         {"/rest/batch", "cmd[0]=+user.get", "", ""},
		"multipart":                         {"/rest/batch", "cmd[0]=user.get", "multipart/form-data; boundary=x", "--x--"},
		"a body of no type":                 {"/rest/batch", "cmd[0]=user.get", "", reads},
		"a body of another type":            {"/rest/batch", "cmd[0]=user.get", "text/plain", reads},
		"JSON called a form":                {"/rest/batch", "cmd[0]=user.get", asForm, ` {"cmd":["crm.deal.add"]}`},
		"JSON in another character set":     {"/rest/batch", "", asJSON + "; charset=utf-7", reads},
		"JSON with a mark":                  {"/rest/batch", "", asJSON, "\ufeff" + reads},
		"JSON that goes on":                 {"/rest/batch", "", asJSON, reads + `{"cmd":["crm.deal.add"]}`},
		"JSON that is cut off":              {"/rest/batch", "", asJSON, `{"cmd":["user.get"]`},
		"JSON with bytes that are no text":  {"/rest/batch", "", asJSON, `{"cmd":["user.get?a=` + "\xff" + `"]}`},
		"blanks as a form":                  {"/rest/batch", "", asForm, " "},
		"a write in a batch of version 3":   {"/rest/api/batch", "", asJSON, `[{"method":"tasks.task.get"},{"method":"tasks.task.add"}]`},
		"two methods in a command":          {"/rest/api/batch", "", asJSON, `[{"method":"tasks.task.add","method":"tasks.task.get"}]`},
		"a command without a method":        {"/rest/api/batch", "", asJSON, `[{"method":"tasks.task.get"},{"query":{}}]`},
		"METHOD":                            {"/rest/api/batch", "", asJSON, `[{"method":"tasks.task.get","METHOD":"tasks.task.add"}]`},
		"an unknown name beside the number": {"/rest/api/batch", "", asJSON, `{"0":{"method":"tasks.task.get"},"cmd":["a.add"]}`},
		"version 2 in version 3":            {"/rest/api/batch", "cmd[0]=user.get", "", ""},
		"version 3 in version 2":            {"/rest/batch", "", asJSON, `[{"method":"user.get"}]`},
		"a form in version 3":               {"/rest/api/batch", "", asForm, "0[method]=tasks.task.get"},
		"a number in the query":             {"/rest/api/batch", "1[method]=tasks.task.add", asJSON, `[{"method":"tasks.task.get"}]`},
		"a zero in the query":               {"/rest/api/batch", "0[method]=tasks.task.add", asJSON, `[{"method":"tasks.task.get"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			if ReadBatch(ParseCall(b.path), b.query, b.contentType, []byte(b.body)) {
				t.Errorf("%v: got a read, want none", b)
			}
		})
	}
}

// FuzzReadBatch holds for any input: nothing panics, and no batch is a read if
// Commands finds a write in it.
func FuzzReadBatch(f *testing.F) {
	f.Add("cmd[0]=user.get", asJSON, `{"cmd":["crm.deal.list"]}`)
	f.Add("", asForm, "cmd[a]=user.get&cmd[b]=crm.deal.add")
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		for _, path := range []string{"/rest/batch", "/rest/api/batch"} {
			if !ReadBatch(ParseCall(path), query, contentType, []byte(body)) {
				continue
			}
			for _, method := range Commands(query, contentType, []byte(body)) {
				if !isRead(method) {
					t.Errorf("%q %q %q is a read with the write %s", query, contentType, body, method)
				}
			}
		}
	})
}
