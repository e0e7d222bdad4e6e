package bitrix24

import (
	"bytes"
	"fmt"
	"testing"
)

// listAnswer is what crm.deal.list answers, with so many deals of 190 bytes.
func listAnswer(deals int) []byte {
	const deal = `{"ID":"4711","TITLE":"Order no. 4711 of the web shop","STAGE_ID":"C2:NEW","OPPORTUNITY":"1290.00","CURRENCY_ID":"EUR","ASSIGNED_BY_ID":"17","COMMENTS":"\u041a \u043e\u043f\u043b\u0430\u0442\u0435"}`
	const end = `],"next":50,"total":812,"time":{"start":1764288000.1234,"finish":1764288000.2345,"duration":0.1111,"processing":0.0899,"date_start":"2026-11-28T03:00:00+03:00","date_finish":"2026-11-28T03:00:00+03:00","operating_reset_at":1764288600,"operating":0.0911}}`
	return fmt.Appendf(nil, `{"result":[%s%s`, bytes.Join(bytes.Split(bytes.Repeat([]byte(deal+"\n"), deals)[:deals*(len(deal)+1)-1], []byte("\n")), []byte(",")), end)
}

// BenchmarkExamine finds out what a small and a large answer mean.
func BenchmarkExamine(b *testing.B) {
	call := ParseCall("/rest/1/inventedcode1234/crm.deal.list")
	for name, deals := range map[string]int{"small": 1, "3.5kB": 16, "60kB": 300} {
		answer := listAnswer(deals)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(answer)))
			b.ReportAllocs()
			for b.Loop() {
				if a := Examine(call, 200, "application/json; charset=utf-8", answer); a.Kind != KindOK || !a.Time.HasOperating {
					b.Fatalf("got %+v, want a success with its operating time", a)
				}
			}
		})
	}
}

// BenchmarkNormalized gives a refusal, an error of version 3 and a page the form that
// callers read.
func BenchmarkNormalized(b *testing.B) {
	for name, c := range map[string]struct {
		address, contentType, body string
		status                     int
	}{
		"refusal": {"/rest/1/inventedcode1234/crm.deal.list", "application/json", `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`, 503},
		"version 3": {"/rest/api/1/inventedcode1234/tasks.task.get", "application/json",
			`{"error":{"code":"INTERNAL_SERVER_ERROR","message":"Internal error","validation":[{"field":"id","message":"wrong"}]}}`, 500},
		"page": {"/rest/1/inventedcode1234/crm.deal.list", "text/html", "<html>" + string(bytes.Repeat([]byte("<p>Bad Gateway</p>"), 1000)), 502},
	} {
		call := ParseCall(c.address)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a := Examine(call, c.status, c.contentType, []byte(c.body))
				if status, _, _ := a.Normalized(a.ErrorInfo()); status < 400 {
					b.Fatalf("got status %d, want an error", status)
				}
			}
		})
	}
}
