package bitrix24

import (
	"strings"
	"testing"
)

// An empty response is a whole answer, unless something follows it.
func TestXMLEmptyResponse(t *testing.T) {
	for body, want := range map[string]Reason{
		`<response/>`:           "",
		`<response />`:          "",
		`<response></response>`: "",
		`<response>`:            ReasonTruncated,
		`<response/><result>`:   ReasonTruncated,
	} {
		a := Examine(ParseCall("/rest/a.b.xml"), 200, "", []byte(body))
		if a.Reason != want || (a.Kind == KindOK) != (want == "") {
			t.Errorf("%s: got %v with the reason %q, want the reason %q", body, a.Kind, a.Reason, want)
		}
	}
}

// The time is the last element of its name, if nothing but the counts of a list
// follows it.
func TestXMLTime(t *testing.T) {
	for tail, want := range map[string]float64{
		`<time><operating>2</operating></time></response>`:                                               2,
		`...x</result><time><operating>2</operating></time><next>50</next> <total>99</total></response>`: 2,
		`<time><operating>9</operating></time><time><operating>2</operating></time></response>`:          2,
		`<time><operating>9</operating></time></result></response>`:                                      0,
		`<time><operating>9</operating></time>`:                                                          0,
		`<time><operating>9</operating></response>`:                                                      0,
		`operating>9</operating></time></response>`:                                                      0,
		``: 0,
	} {
		if got := xmlTime([]byte(tail)).Operating; got != want {
			t.Errorf("%s: got %v s, want %v s", tail, got, want)
		}
	}
}

// The time of a long answer is read as it passes.
func TestXMLTimeOfALongAnswer(t *testing.T) {
	body := `<response><result>` + strings.Repeat("x", HeadLimit) + `</result><time><operating>2</operating></time></response>`
	a, verdict := scan(NewScanner(ParseCall("/rest/a.b.xml"), 200, ""), []byte(body), 4096, true)
	if verdict != VerdictStream || a.Kind != KindOK || a.Time.Operating != 2 {
		t.Errorf("got the verdict %d, %v and %v s, want %d, %v and 2 s", verdict, a.Kind, a.Time.Operating, VerdictStream, KindOK)
	}
}
