package bitrix24

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// scan reads an answer in pieces of size bytes, as the body of a response is.
func scan(s *Scanner, body []byte, size int, complete bool) (Answer, Verdict) {
	var held []byte
	verdict := VerdictMore
	for rest := body; len(rest) > 0; {
		n := min(size, len(rest))
		if verdict == VerdictStream {
			_, _ = s.Write(rest[:n])
		} else {
			held = append(held, rest[:n]...)
			verdict = s.Head(held, false)
		}
		if verdict == VerdictWhole {
			break
		}
		rest = rest[n:]
	}
	if verdict == VerdictMore {
		verdict = s.Head(held, true)
	}
	return s.Finish(complete), verdict
}

// meaning is what the Scanner and Examine must agree on, even if the answer streamed.
func meaning(a Answer) string {
	return fmt.Sprintf("%v %q %q %v %v %v %v %v", a.Kind, a.Code, a.Reason, a.Known, a.Executed(), a.Time, a.Inner, a.InnerTimes)
}

// A recorded answer means the same to the Scanner, whatever the size of its pieces.
func TestScannerAgreesOnSamples(t *testing.T) {
	for _, s := range samples(t) {
		want := meaning(Examine(s.call, s.status, s.contentType, s.body))
		for size := 1; size <= len(s.body)+1; size++ {
			a, _ := scan(NewScanner(s.call, s.status, s.contentType), s.body, size, true)
			if got := meaning(a); got != want {
				t.Errorf("%s in pieces of %d:\n got %s\nwant %s", s.file, size, got, want)
			}
		}
	}
}

// pad makes an answer too long to be held back, without changing its meaning.
func pad(body []byte, after string, n int) ([]byte, bool) {
	padded := bytes.Replace(body, []byte(after), []byte(after+strings.Repeat(" ", n)), 1)
	return padded, len(padded) > len(body)
}

// A long answer streams, and means the same as if it had been held back. An error
// does not stream, however long it is.
func TestScannerAgreesOnLongAnswers(t *testing.T) {
	streamed, held := 0, 0
	for _, s := range samples(t) {
		body, ok := pad(s.body, `"result":`, HeadLimit+1)
		want := VerdictStream
		if !ok {
			body, ok = pad(s.body, `<result>`, HeadLimit+1)
		}
		if !ok {
			body, ok = pad(s.body, `"error":`, HeadLimit+1)
			want = VerdictWhole
		}
		if !ok || s.call.XML && s.call.Batch() {
			continue
		}
		meant := meaning(Examine(s.call, s.status, s.contentType, body))
		for _, size := range []int{97, 4095, 4096, 4097, 32 << 10, len(body)} {
			a, verdict := scan(NewScanner(s.call, s.status, s.contentType), body, size, true)
			if got := meaning(a); got != meant || verdict != want {
				t.Errorf("%s in pieces of %d:\n got the verdict %d and %s\nwant the verdict %d and %s", s.file, size, verdict, got, want, meant)
			}
		}
		if want == VerdictStream {
			streamed++
		} else {
			held++
		}
	}
	if streamed < 10 || held < 20 {
		t.Errorf("got %d samples that streamed and %d that were held back, want at least 10 and 20", streamed, held)
	}
}

// The head of a long answer decides whether it may stream.
func TestScannerHead(t *testing.T) {
	long := strings.Repeat(" ", HeadLimit)
	const v2, v3 = "/rest/crm.deal.list", "/rest/api/documentation"
	tests := []struct {
		name, path string
		status     int
		body       string
		verdict    Verdict
		kind       Kind
	}{
		{"a list", v2, 200, `{"result":[` + long + `]}`, VerdictStream, KindOK},
		{"a list after total", v2, 200, `{"total":1,"result":[` + long + `]}`, VerdictStream, KindOK},
		{"a good answer with an error key first", v2, 200, `{"error":` + long + `"","result":1}`, VerdictStream, KindOK},
		{"a page", v2, 200, `<html>` + long, VerdictWhole, KindNoAnswer},
		{"words", v2, 500, `Fatal error` + long, VerdictWhole, KindNoAnswer},
		{"an error", v2, 503, `{"error":"QUERY_LIMIT_EXCEEDED","x":"` + long + `"}`, VerdictWhole, KindSystemError},
		{"an error in XML", v2 + ".xml", 503, `<response><error>QUERY_LIMIT_EXCEEDED</error><x>` + long + `</x></response>`, VerdictWhole, KindSystemError},
		{"an endless error", v2, 400, `{"error":"X","x":"` + strings.Repeat("x", 2*errorLimit) + `"}`, VerdictWhole, KindNoAnswer},
		{"a huge answer with an error key first", v2, 200, `{"error":"","x":"` + strings.Repeat("x", HeadLimit) + `","result":"` +
			strings.Repeat("x", 2*errorLimit) + `"}`, VerdictStream, KindOK},
		{"a description of the API", v3, 200, `{"openapi":"3.0.0","x":"` + long + `"}`, VerdictStream, KindOK},
		{"a list at the top", v2, 200, `[` + long + `]`, VerdictStream, KindOK},
		{"a failing gateway", v2, 502, `{"message":"` + long + `"}`, VerdictWhole, KindNoAnswer},
		{"a result at 400", v2, 400, `{"result":[` + long + `]}`, VerdictWhole, KindOK},
		{"a huge result at 400", v2, 400, `{"result":[` + strings.Repeat(" ", 2*errorLimit) + `]}`, VerdictStream, KindOK},
		{"a huge result at 500", v2, 500, `{"result":[` + strings.Repeat(" ", 2*errorLimit) + `]}`, VerdictWhole, KindNoAnswer},
		{"another path", "/oauth/token", 200, `{"error":"x"}`, VerdictStream, KindUntouched},
		{"another path, an empty answer", "/oauth/token", 200, ``, VerdictStream, KindUntouched},
		{"a good answer in XML", v2 + ".xml", 200, `<response><result>` + long + `</result></response>`, VerdictStream, KindOK},
		{"a cut list", v2, 200, `{"result":[` + long + `{"a":1},`, VerdictStream, KindNoAnswer},
		{"a cut answer in XML", v2 + ".xml", 200, `<response><result>` + long + `</result>`, VerdictStream, KindNoAnswer},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a, verdict := scan(NewScanner(ParseCall(test.path), test.status, ""), []byte(test.body), 1000, true)
			if verdict != test.verdict || a.Kind != test.kind {
				t.Errorf("got the verdict %d and %v, want %d and %v", verdict, a.Kind, test.verdict, test.kind)
			}
		})
	}
}

// An answer is held back up to its bound, to the byte, and decided one byte later.
func TestScannerHolds(t *testing.T) {
	for _, test := range []struct {
		body  string
		limit int
		then  Verdict
	}{
		{`{"result":"`, HeadLimit, VerdictStream},
		{`{"error":"X","x":"`, errorLimit, VerdictWhole},
	} {
		body := []byte(test.body + strings.Repeat("x", test.limit))
		s := NewScanner(ParseCall("/rest/crm.deal.list"), 200, "")
		for n := HeadLimit; n <= test.limit; n += test.limit / 16 {
			if v := s.Head(body[:n], false); v != VerdictMore {
				t.Fatalf("%s: got the verdict %d at %d bytes, want %d", test.body, v, n, VerdictMore)
			}
		}
		if v := s.Head(body[:test.limit+1], false); v != test.then {
			t.Errorf("%s: got the verdict %d after %d bytes, want %d", test.body, v, test.limit+1, test.then)
		}
	}
}

// An answer that breaks off while it streams is truncated, however its end looks.
func TestScannerIncomplete(t *testing.T) {
	body := []byte(`{"result":[` + strings.Repeat(" ", HeadLimit) + `],"time":{"operating":1}}`)
	a, _ := scan(NewScanner(ParseCall("/rest/crm.deal.list"), 200, ""), body, 1000, false)
	if a.Kind != KindNoAnswer || a.Reason != ReasonTruncated || a.Time.HasOperating {
		t.Errorf("got %v, reason %q and %v, want %v, reason %q and no time", a.Kind, a.Reason, a.Time, KindNoAnswer, ReasonTruncated)
	}
	s := NewScanner(ParseCall("/rest/crm.deal.list"), 200, "")
	s.Head(body[:100], false)
	if a := s.Finish(false); a.Kind != KindNoAnswer || a.Reason != ReasonTruncated {
		t.Errorf("broken off in its head: got %v, reason %q, want %v, reason %q", a.Kind, a.Reason, KindNoAnswer, ReasonTruncated)
	}
}

// A batch that streams is truncated, wherever it is cut off.
func TestScannerCutBatch(t *testing.T) {
	body := []byte(`{"result":{"result":{"a":"` + strings.Repeat("x", HeadLimit) + `\"}"},"result_error":{"b":{"error":"X"}}},"time":{"operating":1}}`)
	for n := HeadLimit + 10; n <= len(body); n++ {
		a, _ := scan(NewScanner(ParseCall("/rest/batch"), 200, ""), body[:n], 4096, true)
		if (a.Kind == KindOK) != (n == len(body)) {
			t.Errorf("cut at %d of %d: got %v", n, len(body), a.Kind)
		}
	}
}

// The time of a long answer is read from its end, and nothing else is read as one.
func TestTimeAtEnd(t *testing.T) {
	want := Time{Operating: 3.5, HasOperating: true, ResetAt: time.Unix(1778747792, 0)}
	const times = `"time":{"start":1.5,"date_start":"a\"}{\\","operating_reset_at":1778747792,"operating":3.5}`
	good := []string{
		`...x"],` + times + `}`,
		`],` + times + `,"total":50,"next" : 50 }`,
		`"],"total":null,` + times + `,"more":{"a":["}"]},"s":"\\\""}`,
		`{` + times + `}`,
	}
	for _, text := range good {
		if got := timeAtEnd([]byte(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	bad := []string{
		``, `}`, `{}`, `"}`, `:}`, `1}`, `"a":}`, `"a"1}`, `]}`, `}}`, `\"}}`,
		`"result":{` + times + `}}`,
		`"result":"x,\"time\":{\"operating\":1}"}`,
		`,\"time\":{\"operating\":1}"}`,
		`"result":[{` + times + `}]}`,
		`"time":{"operating":1}`,
		`"time":{"operating":}}`,
		`,` + times + `,"total":}`,
		`,` + times + `,"more":{"a":1]]}`,
		`,"xtime":{"operating":1}}`,
	}
	for _, text := range bad {
		if got := timeAtEnd([]byte(text)); got != (Time{}) {
			t.Errorf("%s: got %v, want none", text, got)
		}
	}
}

// The tail keeps the end of what was written, in pieces of any size.
func TestTail(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var whole []byte
	var kept tail
	for range 1000 {
		p := bytes.Repeat([]byte{byte(random.Uint32())}, random.IntN(2*tailLimit))
		if random.IntN(2) == 0 {
			p = p[:len(p)%50]
		}
		whole = append(whole, p...)
		kept.write(p)
		if want := whole[max(0, len(whole)-tailLimit):]; !bytes.Equal(kept, want) {
			t.Fatalf("after %d bytes: got a tail of %d, want the last %d", len(whole), len(kept), len(want))
		}
		if cap(kept) > 4*tailLimit {
			t.Fatalf("got a tail that takes %d bytes, want at most %d", cap(kept), 4*tailLimit)
		}
	}
}

// The walker finds in a batch what Examine finds in it, in pieces of any size.
func TestWalkerAgreesWithExamine(t *testing.T) {
	batch := ParseCall("/rest/batch")
	bodies := []string{
		`{"result":{"result":{"a":{"result_error":{"z":{"error":"no"}}}},"result_error":{"a\u0062\"":{"error":"X","d":"}]\\"}, "c" : null ,"d":12},"result_time":[[],{"operating":2}]},"time":{"operating":3,"x":{"y":[1]}}}`,
		`{"time":{"operating":1,"time":{"operating":9}},"result":{"result_error":[{"error":"A"},"B",{"error":{"code":"C"}},3]}}`,
		`{"result_error":{"a":{"error":"no"}},"result":[{"result_error":{"a":{"error":"no"}}}]}`,
		`{"result":{"result_error":{"a":[{"error":"no"}],"b":{"x":{"error":"no"}}}}}`,
		`{"result":{},"time":null}`,
		`{"result":{"result":{"a":{"t":"x\"}\\","u":[["\\\""]]}},"result_error":[{"error":"X"}]}}`,
	}
	for _, s := range samples(t) {
		if s.call.Batch() && s.call.Version == 2 && !s.call.XML {
			bodies = append(bodies, string(s.body))
		}
	}
	for _, body := range bodies {
		want := Examine(batch, 200, "", []byte(body))
		for size := 1; size <= len(body); size++ {
			var w walker
			for rest := []byte(body); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				w.write(rest[:min(size, len(rest))])
			}
			var got Answer
			w.report(&got)
			if !w.ended() || got.Time != want.Time || !reflect.DeepEqual(got.Inner, want.Inner) || !reflect.DeepEqual(got.InnerTimes, want.InnerTimes) {
				t.Fatalf("%s in pieces of %d:\n got %v %v %v\nwant %v %v %v", body, size, got.Time, got.Inner, got.InnerTimes, want.Time, want.Inner, want.InnerTimes)
			}
		}
	}
}

// What the walker keeps is bounded, even if a batch is made to be large.
func TestWalkerIsBounded(t *testing.T) {
	var w walker
	w.write([]byte(`{"result":{"result_error":{`))
	for i := range 1000 {
		fmt.Fprintf(writerFunc(w.write), `"%d%s":{"error":"X%s"},`, i, strings.Repeat("k", 1000), strings.Repeat("c", 1000))
	}
	w.write([]byte(`"a":"`))
	for range 100 {
		w.write([]byte(strings.Repeat("v", 10_000)))
	}
	if len(w.inner.Inner) != maxInner || cap(w.kept) > 4*maxKept {
		t.Errorf("got %d errors and %d bytes, want %d and at most %d", len(w.inner.Inner), cap(w.kept), maxInner, 4*maxKept)
	}
	for _, e := range w.inner.Inner {
		if len(e.Key) > maxCode || len(e.Code) > maxCode {
			t.Errorf("got a key of %d and a code of %d bytes, want at most %d", len(e.Key), len(e.Code), maxCode)
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// BenchmarkScanner passes 64 MiB in pieces of 32 KiB, once with a plain copy
// and once with a Scanner beside it, and reports how fast the second is in
// parts of the first.
func BenchmarkScanner(b *testing.B) {
	row := `{"ID":"12345","TITLE":"\u0421\u0434\u0435\u043b\u043a\u0430","OPPORTUNITY":"1000.00","DATE_CREATE":"2026-05-14T10:26:32+02:00"},`
	rows := strings.Repeat(row, (64<<20)/len(row))
	const end = `"time":{"start":1778747192.91,"operating_reset_at":1778747792,"operating":3.3}}`
	for name, answer := range map[string]struct{ path, body string }{
		"list":  {"/rest/crm.deal.list", `{"result":[` + rows + `{}],` + end},
		"batch": {"/rest/batch", `{"result":{"result":{"a":[` + rows + `{}]},"result_error":[]},` + end},
	} {
		b.Run(name, func(b *testing.B) {
			body := []byte(answer.body)
			to := make([]byte, 32<<10)
			var plain, scanned time.Duration
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				begin := time.Now()
				for rest := body; len(rest) > 0; {
					rest = rest[copy(to, rest):]
				}
				plain += time.Since(begin)

				begin = time.Now()
				s := NewScanner(ParseCall(answer.path), 200, typeJSON)
				const head = HeadLimit + 1
				s.Head(body[:head], false)
				for rest := body; len(rest) > 0; {
					n := copy(to, rest)
					if rest = rest[n:]; len(body)-len(rest) > head {
						_, _ = s.Write(to[:n])
					}
				}
				if a := s.Finish(true); !a.Time.HasOperating {
					b.Fatal("no time found")
				}
				scanned += time.Since(begin)
			}
			b.ReportMetric(plain.Seconds()/scanned.Seconds(), "of-copy")
			b.ReportMetric(float64(len(body))*float64(b.N)/1e6/scanned.Seconds(), "scanner-MB/s")
		})
	}
}
