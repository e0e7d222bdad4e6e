package b24sim

import "testing"

// With Echo a read answers with its parameters as the portal understood them: those of
// JSON keep their kinds, but for integers; the query comes first; a name that is a number
// is renumbered; and what the portal takes for itself is gone.
func TestEcho(t *testing.T) {
	const fields = hook + "crm.deal.fields"
	for _, test := range []struct{ target, contentType, body, want string }{
		{fields + "?b=1&a[x]=2", jsonType, `{"c":[1,-7,1.50,true,null,"",[],{}],"b":"3"}`,
			`{"b":"3","a":{"x":"2"},"c":["1","-7",1.50,true,null,"",[],[]]}`},
		{fields + "?5=a&x=b&7=c", jsonType, `{"7":"d"}`, `{"0":"a","x":"b","1":"d"}`},
		{fields + "?method=a&ap=b&aplogin=c&state=d&auth=e", form, "z=%3Cb%3E", `{"auth":"e","z":"<b>"}`},
		{"/rest/crm.deal.fields?auth=T&ap=b", form, "z=1", `{"ap":"b","z":"1"}`},
		{"/rest/crm.deal.fields", jsonType, `{"access_token":"T","z":12345678901234567890}`, `{"z":12345678901234567890}`},
		{hook + "crm.deal.list", form, "z=1", `{"z":"1"}},"next":50,"total":137,`},
	} {
		t.Run(test.target+" "+test.body, func(t *testing.T) {
			wantAnswer(t, call(t, New(Config{Echo: true}), "POST", test.target, test.contentType, test.body), 200, `"params":`+test.want)
		})
	}
}

// Three methods sign their answer for a caller who sends a state.
func TestSignature(t *testing.T) {
	p := New(Config{})
	wantAnswer(t, get(t, p, hook+"profile?state=x"), 200, `,"signature":"`)
	if w := get(t, p, hook+"profile"); decode(t, w)["signature"] != nil {
		t.Errorf("got %s without a state, want no signature", w.Body)
	}
}

// The filter changes suspicious text in queries, forms and commands, and not in JSON.
func TestFilter(t *testing.T) {
	p := New(Config{Echo: true, Filter: true})
	const fields = hook + "crm.deal.fields"
	wantAnswer(t, get(t, p, fields+"?a%3Cb=javascript&c=x/../y&d=plain+text"), 200, `{"a< b":"javas cript","c":"x/ ../y","d":"plain text"}`)
	wantAnswer(t, call(t, p, "POST", fields, form, "a=Union+all+Select"), 200, `{"a":"U nion all Select"}`)
	wantAnswer(t, call(t, p, "POST", fields, jsonType, `{"a":"<script>"}`), 200, `{"a":"<script>"}`)
	wantAnswer(t, call(t, p, "POST", hook+"batch", jsonType, `{"cmd":["crm.deal.fields?a=script&b[select][0]=x"]}`), 200,
		`{"a":"s cript","b":{"select":["x"]}}`)
}
