package b24sim

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// timeOf reads the operating fields of an answer; -1 means absent.
func timeOf(t *testing.T, w *httptest.ResponseRecorder) (operating, resetAt float64) {
	t.Helper()
	fields, _ := decode(t, w)["time"].(map[string]any)
	operating, resetAt = -1, -1
	if v, ok := fields["operating"].(float64); ok {
		operating = v
	}
	if v, ok := fields["operating_reset_at"].(float64); ok {
		resetAt = v
	}
	return operating, resetAt
}

// As documented: the sum over ten minutes grows with each call. Above the limit
// calls of the method are refused until the oldest minute has passed. Other
// methods and credentials go on.
func TestOperatingDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Operating: Operating{
			Mode:   OperatingDocumented,
			Charge: map[string]time.Duration{"CRM.item.list": 250 * time.Second},
		}})
		const target = hook + "crm.item.list"
		if operating, reset := timeOf(t, get(t, p, target)); operating != 0 || reset != -1 {
			t.Errorf("the first answer: got operating %v, reset %v, want 0 and none", operating, reset)
		}
		time.Sleep(time.Minute)
		operating, reset := timeOf(t, get(t, p, target))
		if want := time.Now().Add(9 * time.Minute).Unix(); operating != 250 || int64(reset) != want {
			t.Errorf("the second answer: got operating %v, reset %v, want 250 and %d", operating, reset, want)
		}
		w := get(t, p, target)
		if want := `{"error":"OPERATION_TIME_LIMIT","error_description":"Method is blocked due to operation time limit."}`; w.Code != 429 || w.Body.String() != want {
			t.Errorf("above the limit: got %d %s, want 429 %s", w.Code, w.Body, want)
		}
		wantAnswer(t, get(t, p, hook+"crm.item.get?id=1"), 200, "")
		wantAnswer(t, get(t, p, "/rest/1/another-code/crm.item.list"), 200, "")
		time.Sleep(9 * time.Minute)
		wantAnswer(t, get(t, p, target), 200, "")
	})
}

// Newer builds ban the method for five minutes, then start from zero.
func TestOperatingBanning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Operating: Operating{
			Mode:   OperatingBanning,
			Limit:  time.Minute,
			Charge: map[string]time.Duration{"crm.item.list": 61 * time.Second},
		}})
		const target = hook + "crm.item.list"
		codes := []int{get(t, p, target).Code, get(t, p, target).Code}
		time.Sleep(299 * time.Second)
		codes = append(codes, get(t, p, target).Code)
		time.Sleep(time.Second)
		w := get(t, p, target)
		if codes[0] != 200 || codes[1] != 429 || codes[2] != 429 || w.Code != 200 {
			t.Errorf("got %v, then %d, want 200 429 429, then 200", codes, w.Code)
		}
		if operating, _ := timeOf(t, w); operating != 0 {
			t.Errorf("got operating %v after the ban, want 0", operating)
		}
	})
}

// Calls at the same time do not see each other: each is charged after its answer.
func TestOperatingParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Latency: 30 * time.Second, Operating: Operating{Mode: OperatingDocumented, Limit: 20 * time.Second}})
		for range 10 {
			go get(t, p, hook+"crm.item.list")
		}
		time.Sleep(31 * time.Second)
		if p.Ran("crm.item.list") != 10 {
			t.Errorf("got %d run, want 10", p.Ran("crm.item.list"))
		}
		wantAnswer(t, get(t, p, hook+"crm.item.list"), 429, "OPERATION_TIME_LIMIT")
	})
}

// A batch uses the budgets of the methods inside it. In newer builds it uses that
// of `batch`, with half the time and the running sum in result_time.
func TestOperatingBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Operating{Mode: OperatingDocumented, Limit: 100 * time.Second,
			Charge: map[string]time.Duration{"crm.item.list": 60 * time.Second}}
		const target = hook + "batch?cmd[a]=crm.item.list&cmd[b]=crm.item.list"

		p := New(Config{Operating: o})
		get(t, p, target)
		w := get(t, p, target)
		wantAnswer(t, w, 200, `"result_error":{"a":{"error":"OPERATION_TIME_LIMIT",`)

		o.Batch = BatchOuter
		p = New(Config{Operating: o})
		w = get(t, p, target)
		wantAnswer(t, w, 200, `"operating":30}`)
		wantAnswer(t, w, 200, `"operating":60}`)
		wantAnswer(t, get(t, p, target), 200, "") // 60 s are used, 100 s allowed
		wantAnswer(t, get(t, p, target), 429, "")
		wantAnswer(t, get(t, p, hook+"crm.item.list"), 200, "") // the inner method by itself
	})
}

// An answer has neither field, one, or both, as Fields says.
func TestOperatingFields(t *testing.T) {
	for fields, want := range map[OperatingFields][2]bool{
		FieldsNone: {false, false}, FieldsOperating: {true, false}, FieldsBoth: {true, true}, "": {false, false},
	} {
		t.Run("fields: "+string(fields), func(t *testing.T) {
			p := New(Config{Operating: Operating{Fields: fields}})
			operating, reset := timeOf(t, get(t, p, hook+"profile"))
			if (operating >= 0) != want[0] || (reset >= 0) != want[1] {
				t.Errorf("got operating %v, reset %v, want them present: %v", operating, reset, want)
			}
		})
	}
}

// The number of budgets is bounded, however many credentials call.
func TestUsagesBounded(t *testing.T) {
	all := make(usages)
	for i := range 3 * maxUsages {
		all.of(text(i), 0).book(Operating{Mode: OperatingDocumented}, 0, time.Second)
	}
	if len(all) > maxUsages {
		t.Errorf("got %d budgets, want at most %d", len(all), maxUsages)
	}
}
