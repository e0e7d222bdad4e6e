package joining

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const spent = `{"start":1778747192.91,"finish":1778747193.16,"duration":0.25,"processing":0.2,"date_start":"2026-05-14T10:26:32+02:00","date_finish":"2026-05-14T10:26:33+02:00","operating":1.5}`

// batchOf is the answer of a batch with the given members.
func batchOf(result, failures, totals, nexts, times string) string {
	return fmt.Sprintf(`{"result":{"result":%s,"result_error":%s,"result_total":%s,"result_next":%s,"result_time":%s},"time":%s}`,
		result, failures, totals, nexts, times, spent)
}

// Each read gets its result byte for byte, in the form of a single answer.
func TestSplitGivesEachItsOwn(t *testing.T) {
	results := []string{
		`null`, `false`, `""`, `[]`, `{}`, `0`, `"\u0430\/б"`, `[ {"ID" : "1"} ]`, `{"error":"x","result":{"result_error":[1]}}`, `1.50`, `{"a":1,"a":2}`,
	}
	var all, times []string
	for i, r := range results {
		all = append(all, fmt.Sprintf(`"c%d":%s`, i, r))
		times = append(times, fmt.Sprintf(`"c%d": %s`, i, spent))
	}
	body := batchOf("{"+strings.Join(all, ",")+"}", "[ ]", `{"c7":137}`, `{"c7":50}`, "{"+strings.Join(times, ",")+"}")
	for i, p := range Split([]byte(body), len(results)) {
		more := ""
		if i == 7 {
			more = `,"next":50,"total":137`
		}
		want := `{"result":` + results[i] + more + `,"time":` + spent + `}`
		if string(p.Body) != want || p.Alone != "" || p.Took != 250*time.Millisecond {
			t.Errorf("got %s, alone for %q, %v, want %s, 250ms", p.Body, p.Alone, p.Took, want)
		}
	}
}

// A read whose answer is not surely there is sent alone, and the others do not.
func TestSplitSendsAlone(t *testing.T) {
	ok := `"c0":` + spent
	for name, c := range map[string]struct {
		body string
		want Part
	}{
		"an error":                 {batchOf(`{"c0":1}`, `{"c1":{"error":"x"}}`, `[]`, `[]`, `{`+ok+`}`), Part{Alone: Error}},
		"an error that is null":    {batchOf(`{"c0":1}`, `{"c1":null}`, `[]`, `[]`, `{`+ok+`}`), Part{Alone: Error}},
		"an error beside a result": {batchOf(`{"c0":1,"c1":2}`, `{"c1":{"error":""}}`, `[]`, `[]`, `{`+ok+`,"c1":`+spent+`}`), Part{Alone: Error}},
		"a method that is not allowed": {batchOf(`{"c0":1}`, `{"c1":{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED","error_description":"x"}}`, `[]`, `[]`, `{`+ok+`}`),
			Part{Alone: Error, Refused: true}},
		"no result":             {batchOf(`{"c0":1}`, `[]`, `[]`, `[]`, `{`+ok+`,"c1":`+spent+`}`), Part{Alone: Missing}},
		"no time":               {batchOf(`{"c0":1,"c1":2}`, `[]`, `[]`, `[]`, `{`+ok+`}`), Part{Alone: Unclear}},
		"a time that is a list": {batchOf(`{"c0":1,"c1":2}`, `[]`, `[]`, `[]`, `{`+ok+`,"c1":[]}`), Part{Alone: Unclear}},
		"a total that is text":  {batchOf(`{"c0":1,"c1":2}`, `[]`, `{"c1":"5"}`, `[]`, `{`+ok+`,"c1":`+spent+`}`), Part{Alone: Unclear}},
		"a next that is null":   {batchOf(`{"c0":1,"c1":2}`, `[]`, `[]`, `{"c1":null}`, `{`+ok+`,"c1":`+spent+`}`), Part{Alone: Unclear}},
	} {
		t.Run(name, func(t *testing.T) {
			parts := Split([]byte(c.body), 2)
			if parts[0].Alone != "" || parts[0].Body == nil {
				t.Errorf("got the first alone for %q, want its answer", parts[0].Alone)
			}
			if got := parts[1]; got.Alone != c.want.Alone || got.Refused != c.want.Refused || got.Body != nil {
				t.Errorf("got %s, alone for %q, refused %v, want alone for %q, refused %v", got.Body, got.Alone, got.Refused, c.want.Alone, c.want.Refused)
			}
		})
	}
}

// A time that does not say how long a read took is passed on all the same.
func TestSplitWithoutADuration(t *testing.T) {
	for _, spent := range []string{`{}`, `{"start":1}`, `{"duration":null}`, `{"duration":"x"}`, `{"duration":-1}`, `{"duration":1e9}`} {
		p := Split([]byte(batchOf(`{"c0":1}`, `[]`, `[]`, `[]`, `{"c0":`+spent+`}`)), 1)[0]
		if want := `{"result":1,"time":` + spent + `}`; string(p.Body) != want || p.Took >= 0 {
			t.Errorf("got %s, %v, want %s and an unknown duration", p.Body, p.Took, want)
		}
	}
}

// An answer that may be read in two ways, or that is no answer to this batch, sends all
// reads alone.
func TestSplitNeedsAClearAnswer(t *testing.T) {
	whole := batchOf(`{"c0":1,"c1":2}`, `[]`, `[]`, `[]`, `{"c0":`+spent+`,"c1":`+spent+`}`)
	if parts := Split([]byte(whole), 2); parts[0].Alone != "" || parts[1].Alone != "" {
		t.Fatalf("got %v, want two answers", parts)
	}
	for name, body := range map[string]string{
		"empty":                  "",
		"a page":                 "<html></html>",
		"cut off":                whole[:len(whole)-1],
		"more behind it":         whole + "{}",
		"a byte-order mark":      "\xef\xbb\xbf" + whole,
		"bad UTF-8":              strings.Replace(whole, `"c0":1`, "\"c0\":\"\xff\"", 1),
		"an error":               `{"error":"x","result":` + whole[len(`{"result":`):],
		"no result":              `{"time":{}}`,
		"a result that is null":  `{"result":null}`,
		"a member is missing":    strings.Replace(whole, `"result_next":[],`, "", 1),
		"a result twice":         strings.Replace(whole, `"c0":1`, `"c0":1,"c0":3`, 1),
		"a result twice, hidden": strings.Replace(whole, `"c0":1`, `"c0":1,"\u00630":3`, 1),
		"a member twice":         strings.Replace(whole, `"result_next":[],`, `"result_next":[],"result_error":[],`, 1),
		"an unknown command":     strings.Replace(whole, `"c0":1`, `"c0":1,"c2":3`, 1),
		"a list":                 strings.Replace(whole, `{"c0":1,"c1":2}`, `[1,2]`, 1),
		"errors as a list":       strings.Replace(whole, `"result_error":[]`, `"result_error":[{"error":"x"}]`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range Split([]byte(body), 2) {
				if p.Alone != Unclear || p.Body != nil {
					t.Errorf("got %s, alone for %q, want it alone for %q", p.Body, p.Alone, Unclear)
				}
			}
		})
	}
}

// Whatever comes, each read has either a whole answer or a reason to be sent alone, and an
// answer holds the result that the portal wrote.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(batchOf(`{"c0":1,"c1":{"a":[]}}`, `[]`, `{"c0":3}`, `[]`, `{"c0":`+spent+`,"c1":`+spent+`}`)), 2)
	f.Add([]byte(batchOf(`{"c0":null}`, `{"c1":null}`, `[]`, `[]`, `{"c0":`+spent+`}`)), 2)
	f.Add([]byte(`{"error":"expired_token"}`), 3)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = 1 + int(uint(n)%MaxReads)
		var batch struct {
			Result struct{ Result map[string]json.RawMessage }
		}
		for i, p := range Split(body, n) {
			if (p.Alone == "") != (p.Body != nil) {
				t.Fatalf("got %q, alone for %q, want one of the two", p.Body, p.Alone)
			}
			if p.Body == nil {
				continue
			}
			var single struct{ Result json.RawMessage }
			if json.Unmarshal(p.Body, &single) != nil || json.Unmarshal(body, &batch) != nil {
				t.Fatalf("got %q, want JSON", p.Body)
			}
			if want := batch.Result.Result[key(i)]; string(single.Result) != string(want) {
				t.Errorf("got the result %s, want %s", single.Result, want)
			}
		}
	})
}
