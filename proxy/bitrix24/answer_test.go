package bitrix24

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

const webhook = "/rest/1/inventedcode1234/"

// sample is a recorded answer and the call it answers.
type sample struct {
	file        string
	call        Call
	status      int
	contentType string
	code        string // expected, as index.tsv writes it
	body        []byte
}

func samples(tb testing.TB) []sample {
	tb.Helper()
	index, err := os.ReadFile("testdata/samples/index.tsv")
	if err != nil {
		tb.Fatal(err)
	}
	var all []sample
	for line := range strings.Lines(string(index)) {
		column := strings.Split(strings.TrimSpace(line), "\t")
		if column[0] == "file" || strings.Contains(column[0], "download") { // known by its header, see TestFiles
			continue
		}
		status, err := strconv.Atoi(column[1])
		if err != nil {
			tb.Fatalf("index.tsv: %q", line)
		}
		body, err := os.ReadFile(filepath.Join("testdata/samples", column[0]))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, sample{column[0], callOf(column[0]), status, column[2], column[3], body})
	}
	if len(all) != 50 {
		tb.Fatalf("%d samples, want 50", len(all))
	}
	return all
}

// callOf returns the call that a sample answers, by the words in its name.
func callOf(file string) Call {
	method := "crm.deal.list"
	if strings.Contains(file, "batch") || file == "ok-xml-200.xml" {
		method = "batch"
	}
	switch {
	case strings.Contains(file, "oauth"):
		return ParseCall("/oauth/token/")
	case strings.Contains(file, "v3-"), strings.Contains(file, "openapi"):
		return ParseCall("/rest/api/1/inventedcode1234/" + strings.Replace(method, "crm.deal.list", "tasks.task.get", 1))
	case strings.HasSuffix(file, ".xml"):
		return ParseCall(webhook + method + ".xml")
	}
	return ParseCall(webhook + method + ".json")
}

// Each recorded answer means what its golden file says, and the caller gets what
// that shows.
func TestSamples(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.file, func(t *testing.T) {
			a := Examine(s.call, s.status, s.contentType, s.body)
			if got := codesOf(a); got != s.code && !strings.HasPrefix(s.code, "BITRIX") || strings.HasPrefix(s.code, "BITRIX") && string(a.Code) != s.code {
				t.Errorf("got the code %q, want %q", got, s.code)
			}
			if strings.HasPrefix(s.file, "ok-") && a.Kind != KindOK && a.Kind != KindUntouched {
				t.Errorf("got %v, want a success", a.Kind)
			}
			compareGolden(t, s.file, describe(s, a))
		})
	}
}

// codesOf writes an answer's codes as index.tsv does.
func codesOf(a Answer) string {
	named := func(code Code) string {
		if code == "" {
			return "(empty)"
		}
		return string(code)
	}
	switch {
	case a.Kind == KindNoAnswer && a.Reason == ReasonTruncated:
		return "(truncated)"
	case a.Kind == KindNoAnswer && a.Reason == ReasonEmpty:
		return fmt.Sprintf("(http_%d_empty)", a.status)
	case a.Kind == KindNoAnswer && a.status == 200:
		return "(html_200)"
	case a.Kind == KindNoAnswer:
		return fmt.Sprintf("(http_%d)", a.status)
	case a.Kind == KindUntouched && a.status == 302:
		return "(redirect_302)"
	case a.Kind == KindMethodError && string(a.Fields[0].Value) == "null":
		return "(null)"
	case a.Kind == KindSystemError, a.Kind == KindMethodError:
		return named(a.Code)
	case len(a.Inner) == 0:
		return "-"
	case a.xml:
		return string(a.Inner[0].Code) + "@" + a.Inner[0].Key
	}
	return fmt.Sprintf("%s x%d", named(a.Inner[0].Code), len(a.Inner))
}

func describe(s sample, a Answer) []byte {
	p := infoOf(a)
	p.RequestID = "r1"
	status, contentType, body := a.Normalized(p)
	var b bytes.Buffer
	fmt.Fprintf(&b, "call: %v, status %d\n", s.call, s.status)
	fmt.Fprintf(&b, "kind: %v, code %q, label %s, reason %q, executed %v, retryable %v\n",
		a.Kind, a.Code, Label(a.Code), a.Reason, a.Executed(), a.Retryable())
	fmt.Fprintf(&b, "time: %v %v %v\ninner: %v %v\n", a.Time.HasOperating, a.Time.Operating, utc(a.Time.ResetAt), a.Inner, a.InnerTimes)
	if bytes.Equal(body, s.body) {
		fmt.Fprintf(&b, "caller: %d %s, body as it came\n", status, contentType)
	} else {
		fmt.Fprintf(&b, "caller: %d %s\n%s\n", status, contentType, body)
	}
	return b.Bytes()
}

func utc(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	t.Helper()
	file := filepath.Join("testdata/golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got:\n%s\nwant:\n%s", file, got, want)
	}
}

// What only looks like an error passes byte for byte.
func TestSuccessesThatLookLikeErrors(t *testing.T) {
	for _, body := range []string{
		`{"result":{"error":"QUERY_LIMIT_EXCEEDED"}}`,
		`{"result":{"items":[{"error":"expired_token"}]}}`,
		`{"result":[{"ERROR":"NO_AUTH_FOUND"}]}`,
		`{"result":false,"error":"QUERY_LIMIT_EXCEEDED"}`,
		`{"error":"QUERY_LIMIT_EXCEEDED","result":null}`,
		`{"Error":"QUERY_LIMIT_EXCEEDED"}`,
		`{"result":"{\"error\":\"QUERY_LIMIT_EXCEEDED\"}"}`,
		`{"openapi":"3.0.0"}`,
		`[{"error":"QUERY_LIMIT_EXCEEDED"}]`,
		"\ufeff{\"result\":1}\n",
		`<response><result><error>QUERY_LIMIT_EXCEEDED</error></result></response>`,
	} {
		a := Examine(ParseCall("/rest/crm.deal.list"), 200, typeJSON, []byte(body))
		status, _, out := a.Normalized(infoOf(a))
		if a.Kind != KindOK || status != 200 || string(out) != body {
			t.Errorf("got %v, %d and %s, want a success that stays %s", a.Kind, status, out, body)
		}
	}
}

// A code of the table beside a result is an error at 4xx and 5xx and at no other
// status, also in a long answer.
func TestErrorBesideResult(t *testing.T) {
	long := strings.Repeat(" ", HeadLimit)
	for _, b := range []struct{ path, body string }{
		{"/rest/crm.deal.add", `{"result":null,"error":"QUERY_LIMIT_EXCEEDED"}`},
		{"/rest/crm.deal.add", `{"error":"query_limit_exceeded","result":[]}`},
		{"/rest/crm.deal.add", `{"result":[` + long + `],"error":"QUERY_LIMIT_EXCEEDED","error_description":"x"}`},
		{"/rest/batch", `{"result":{"result_error":{"a":{"error":"X"}}},"error":"QUERY_LIMIT_EXCEEDED"}`},
		{"/rest/api/tasks.task.add", `{"result":null,"error":{"code":"QUERY_LIMIT_EXCEEDED","message":"m"}}`},
		{"/rest/crm.deal.add.xml", `<response><result/><error>QUERY_LIMIT_EXCEEDED</error></response>`},
		{"/rest/crm.deal.add.xml", `<response><result><a></a></result><error>QUERY_LIMIT_EXCEEDED</error></response>`},
		{"/rest/crm.deal.add.xml", `<response><error>QUERY_LIMIT_EXCEEDED</error><result>` + long + `</result></response>`},
	} {
		for status, want := range map[int]Kind{200: KindOK, 299: KindOK, 400: KindSystemError, 429: KindSystemError, 503: KindSystemError, 999: KindSystemError} {
			a := Examine(ParseCall(b.path), status, "", []byte(b.body))
			if a.Kind != want || want == KindOK && (a.Code != "" || a.V3) || want != KindOK && (a.Executed() != RanNo || len(a.Inner) > 0) {
				t.Errorf("%.90s at %d: got %v with the code %q and executed %v, want %v", b.body, status, a.Kind, a.Code, a.Executed(), want)
			}
			if scanned, _ := scan(NewScanner(ParseCall(b.path), status, ""), []byte(b.body), 1000, true); scanned.Kind != want || scanned.Code != a.Code {
				t.Errorf("%.90s at %d, scanned: got %v, want %v", b.body, status, scanned.Kind, want)
			}
		}
	}
	for _, body := range []string{
		`{"result":null,"error":null}`, `{"result":null,"error":"QUERY_LIMIT_EXCEEDED"}`, `{"result":1,"error":""}`,
	} {
		if a := Examine(ParseCall("/rest/crm.deal.add"), 200, "", []byte(body)); a.Kind != KindOK {
			t.Errorf("%s at 200: got %v, want %v", body, a.Kind, KindOK)
		}
	}
	for body, want := range map[string]Kind{`{"result":null,"error":null}`: KindNoAnswer, `{"result":1,"error":"ERROR_CORE"}`: KindNoAnswer} {
		if a := Examine(ParseCall("/rest/crm.deal.add"), 503, "", []byte(body)); a.Kind != want {
			t.Errorf("%s at 503: got %v, want %v", body, a.Kind, want)
		}
	}
}

// A method's own error passes byte for byte, but never as a success.
func TestMethodErrors(t *testing.T) {
	tests := []struct {
		status int
		body   string
		code   Code
		label  string
		want   int
	}{
		{200, `{"error":"ERROR_CORE","error_description":"<b>bad</b>"}`, "ERROR_CORE", "other", 400},
		{201, `{"error":{"code":"X","message":"m"}}`, "X", "other", 400},
		{404, `{"error":"NOT_FOUND"}`, "NOT_FOUND", "other", 404},
		{403, `{"error":"ACCESS_DENIED","error_description":"Access denied!"}`, "ACCESS_DENIED", "ACCESS_DENIED", 403},
		{400, `{"error":"ACCESS_DENIED"}`, "ACCESS_DENIED", "ACCESS_DENIED", 400},
		{400, `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_ACCESSDENIEDEXCEPTION"}}`, codeV3AccessDenied, string(codeV3AccessDenied), 400},
		{401, `{"error":null}`, "", "empty", 401},
		{200, `{"error":"","error_description":""}`, "", "empty", 400},
		{200, `{"error":"0"}`, "0", "numeric", 400},
		{200, `{"error":0}`, "0", "numeric", 400},
		{200, `{"error":false}`, "false", "other", 400},
		{200, `{"error":[]}`, "", "empty", 400},
		{200, `{"error":{}}`, "", "empty", 400},
		{200, `{"error":" ERROR_CORE "}`, "ERROR_CORE", "other", 400},
		{422, `{"message":"of a gateway"}`, "", "empty", 422},
		{200, `<response><error>ERROR_CORE</error><error_description>a & b <br></error_description></response>`, "ERROR_CORE", "other", 400},
		{200, `<response><error/></response>`, "", "empty", 400},
	}
	for _, test := range tests {
		a := Examine(ParseCall("/rest/crm.deal.add"), test.status, "x/y", []byte(test.body))
		status, contentType, out := a.Normalized(infoOf(a))
		if a.Kind != KindMethodError || a.Code != test.code || Label(a.Code) != test.label || a.Known != nil || (a.Executed() == RanYes) != (a.Code != "") {
			t.Errorf("%s: got %v, code %q, label %s, known %v, executed %v, want an error of the method with the code %q and the label %s",
				test.body, a.Kind, a.Code, Label(a.Code), a.Known, a.Executed(), test.code, test.label)
		}
		if status != test.want || contentType != "x/y" || string(out) != test.body {
			t.Errorf("%s: got %d %s %s, want it unchanged at %d", test.body, status, contentType, out, test.want)
		}
	}
}

// What comes in place of an answer is named, and nothing of it reaches the caller.
func TestNoAnswers(t *testing.T) {
	tests := []struct {
		status      int
		contentType string
		body        string
		reason      Reason
	}{
		{200, "text/html", "<!DOCTYPE html><title>Log in</title>", ReasonHTML},
		{200, "text/html; charset=utf-8", "Site closed", ReasonHTML},
		{503, "", "\ufeff \n", ReasonEmpty},
		{200, typeJSON, `{"result":[{"ID":1},{"I`, ReasonTruncated},
		{200, typeJSON, `{"result":tru`, ReasonTruncated},
		{401, typeJSON, `{"error":"expired_tok`, ReasonTruncated},
		{200, "text/xml", `<response><result><ID>1</ID>`, ReasonTruncated},
		{200, "text/xml", `<response><error>expired_token</error>`, ReasonTruncated},
		{200, typeJSON, `Warning: foo {"result":1}`, ReasonNotJSON},
		{200, typeJSON, `{"result":1}{"result":2}`, ReasonNotJSON},
		{200, typeJSON, `{"result":1}<br>`, ReasonNotJSON},
		{502, typeJSON, `{"message":"bad gateway"}`, ReasonNotJSON},
		{500, typeJSON, `{"error":""}`, ReasonNotJSON},
		{502, "text/xml", `<response></response>`, ReasonNotJSON},
	}
	for _, test := range tests {
		a := Examine(ParseCall("/rest/crm.deal.add"), test.status, test.contentType, []byte(test.body))
		status, contentType, out := a.Normalized(infoOf(a))
		if a.Kind != KindNoAnswer || a.Reason != test.reason || a.Executed() != RanUnknown || a.Retryable() {
			t.Errorf("%q: got %v, reason %q, executed %v, retryable %v, want the reason %q, executed unknown, not retryable",
				test.body, a.Kind, a.Reason, a.Executed(), a.Retryable(), test.reason)
		}
		which := map[Reason]string{
			ReasonHTML: "an HTML page", ReasonEmpty: "an empty answer", ReasonTruncated: "an answer that breaks off", ReasonNotJSON: "an answer that is not one of the API",
		}[test.reason]
		want := fmt.Sprintf(`{"error":"ERROR_UNEXPECTED_ANSWER","error_description":"Server returned an unexpected response: %s at status %d; the call may have run",`+
			`"proxy":{"source":"portal","reason":%q,"executed":"unknown","retryable":false,"portal_status":%d,"request_id":""}}`, which, test.status, test.reason, test.status)
		if status != 500 || contentType != typeJSON || string(out) != want {
			t.Errorf("%q:\n got %d %s %s\nwant 500 %s %s", test.body, status, contentType, out, typeJSON, want)
		}
	}
}

// Other paths and redirects are not examined, but signed addresses are. A 204 needs
// no body.
func TestUntouched(t *testing.T) {
	failure := []byte(`{"error":"QUERY_LIMIT_EXCEEDED"}`)
	for _, test := range []struct {
		call   Call
		status int
		body   []byte
		want   Kind
	}{
		{ParseCall("/oauth/token/"), 400, failure, KindUntouched},
		{ParseCall("/rest/download.json"), 503, failure, KindSystemError},
		{ParseCall("/rest/crm.deal.list"), 300, nil, KindUntouched},
		{ParseCall("/rest/crm.deal.list"), 302, nil, KindUntouched},
		{ParseCall("/rest/crm.deal.list"), 304, nil, KindUntouched},
		{ParseCall("/rest/crm.deal.list"), 204, nil, KindOK},
		{ParseCall("/rest/crm.deal.list"), 200, nil, KindNoAnswer},
	} {
		if a := Examine(test.call, test.status, typeJSON, test.body); a.Kind != test.want {
			t.Errorf("%v at %d: got %v, want %v", test.call, test.status, a.Kind, test.want)
		}
	}
}

// Executed and Retryable say whether the caller may repeat the call.
func TestMayBeRepeated(t *testing.T) {
	const write, read, batch3 = "/rest/crm.deal.add", "/rest/crm.deal.list", "/rest/api/batch"
	tests := []struct {
		path      string
		status    int
		body      string
		executed  Ran
		retryable bool
	}{
		{write, 503, `{"error":"QUERY_LIMIT_EXCEEDED"}`, RanNo, true},
		{write, 429, `{"error":"OPERATION_TIME_LIMIT"}`, RanNo, true},
		{write, 401, `{"error":"CONNECTION_ERROR"}`, RanNo, true},
		{write, 503, `{"error":"OVERLOAD_LIMIT"}`, RanNo, false},
		{read, 401, `{"error":"expired_token"}`, RanNo, false},
		{write, 500, `{"error":"INTERNAL_SERVER_ERROR"}`, RanUnknown, false},
		{read, 500, `{"error":"INTERNAL_SERVER_ERROR"}`, RanUnknown, true},
		{write, 200, `{"error":"WRONG_ENCODING"}`, RanYes, false},
		{read, 200, `{"error":"WRONG_ENCODING"}`, RanYes, false},
		{write, 401, `{"error":"ACCESS_DENIED"}`, RanNo, false},
		{batch3, 429, `{"error":{"code":"BITRIX_REST_V3_EXCEPTION_RATELIMITEXCEPTION"}}`, RanUnknown, false},
		{batch3, 503, `{"error":"QUERY_LIMIT_EXCEEDED"}`, RanNo, true},
		{write, 502, `<html>`, RanUnknown, false},
		{read, 502, `<html>`, RanUnknown, true},
		{read, 400, `<html>`, RanUnknown, false},
		{read, 404, `<html>`, RanUnknown, false},
		{read, 200, `{"res`, RanUnknown, true},
		{read, 200, `{"result":1}`, RanYes, false},
		{write, 400, `{"error":"ERROR_CORE"}`, RanYes, false},
		{write, 401, `{"error":"ERROR_CORE"}`, RanUnknown, false},
		{write, 401, `{"error":null}`, RanUnknown, false},
		{write, 429, `{"message":"of a gateway"}`, RanUnknown, false},
	}
	for _, test := range tests {
		a := Examine(ParseCall(test.path), test.status, "", []byte(test.body))
		if a.Executed() != test.executed || a.Retryable() != test.retryable {
			t.Errorf("%s %d %s: got executed %v and retryable %v, want %v and %v",
				test.path, test.status, test.body, a.Executed(), a.Retryable(), test.executed, test.retryable)
		}
	}
}

// The errors and times inside a batch are found by their commands.
func TestBatch(t *testing.T) {
	const errors = `{"a":{"error_description":"d","error":" ERROR_CORE "},"b":{"code":"X"},"c":null}`
	const times = `{"a":{"operating":1.5,"operating_reset_at":1778747792},"b":{}}`
	timesOfA := map[string]Time{"a": {Operating: 1.5, HasOperating: true, ResetAt: time.Unix(1778747792, 0)}}
	for name, c := range map[string]struct {
		path, body string
		errors     []InnerError
		times      map[string]Time
	}{
		"in objects": {
			"/rest/batch", `{"result":{"result":{"result_error":{"z":1}},"result_error":` + errors + `,"result_time":` + times + `}}`,
			[]InnerError{{"a", "ERROR_CORE"}, {"b", "X"}, {"c", ""}}, timesOfA,
		},
		"in lists": {
			"/rest/batch", `{"result":{"result_error":[{"error":"X"}],"result_time":[[],{"operating":2}]}}`,
			[]InnerError{{"0", "X"}}, map[string]Time{"1": {Operating: 2, HasOperating: true}},
		},
		"in XML": {
			"/rest/batch.xml", `<response><result><result_error><a><error>X</error></a></result_error>` +
				`<result_time><a><operating>1.5</operating><operating_reset_at>1778747792</operating_reset_at></a></result_time></result></response>`,
			[]InnerError{{"a", "X"}}, timesOfA,
		},
		"not in another call": {
			"/rest/crm.deal.list", `{"result":{"result_error":[{"error":"X"}],"result_time":[{"operating":2}]}}`, nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := Examine(ParseCall(c.path), 200, "", []byte(c.body))
			if !reflect.DeepEqual(a.Inner, c.errors) || !reflect.DeepEqual(a.InnerTimes, c.times) {
				t.Errorf("got %v and %v, want %v and %v", a.Inner, a.InnerTimes, c.errors, c.times)
			}
		})
	}
	t.Run("up to a hundred of each", func(t *testing.T) {
		body := `{"result":{"result_error":[` + strings.Repeat(`{"error":"X"},`, 1000) + `{}],"result_time":[` + strings.Repeat(`{"operating":1},`, 1000) + `{}]}}`
		if a := Examine(ParseCall("/rest/batch"), 200, "", []byte(body)); len(a.Inner) != maxInner || len(a.InnerTimes) != maxInner {
			t.Errorf("got %d errors and %d times, want %d of each", len(a.Inner), len(a.InnerTimes), maxInner)
		}
	})
}

// An answer that is cut off anywhere never counts as a whole one.
func TestCutAtEveryByte(t *testing.T) {
	for _, s := range samples(t) {
		text := bytes.TrimRight(s.body, " \t\r\n")
		if !s.call.REST() {
			continue
		}
		for n := range text {
			a := Examine(s.call, s.status, s.contentType, text[:n])
			if a.Kind != KindNoAnswer && a.Kind != KindUntouched {
				t.Errorf("%s cut at %d: got %v, want %v", s.file, n, a.Kind, KindNoAnswer)
			}
		}
	}
}

// Each kind has a name.
func TestKindNames(t *testing.T) {
	var names []string
	for k := KindUntouched; k <= KindNoAnswer; k++ {
		names = append(names, k.String())
	}
	if want := []string{"untouched", "ok", "system_error", "method_error", "no_answer"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}
