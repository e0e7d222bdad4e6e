package b24sim

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// timeOf reads the operating fields of an answer; -1 is absent.
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

// As documented: the sum over ten minutes grows with each call, above the
// limit the method is refused, and it is free when the oldest minute has gone.
// Other methods and credentials go on.
func TestOperatingDocumented(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Operating: Operating{
			Mode:   OperatingDocumented,
			Charge: map[string]time.Duration{"CRM.item.list": 250 * time.Second},
		}})
		const target = hook + "crm.item.list"
		if operating, reset := timeOf(t, get(t, p, target)); operating != 0 || reset != -1 {
			t.Errorf("first answer: operating %v, reset %v; want 0 alone", operating, reset)
		}
		time.Sleep(time.Minute)
		operating, reset := timeOf(t, get(t, p, target))
		if want := time.Now().Add(9 * time.Minute).Unix(); operating != 250 || int64(reset) != want {
			t.Errorf("second answer: operating %v, reset %v, want 250 and %d", operating, reset, want)
		}
		w := get(t, p, target)
		if want := `{"error":"OPERATION_TIME_LIMIT","error_description":"Method is blocked due to operation time limit."}`; w.Code != 429 || w.Body.String() != want {
			t.Errorf("above the limit: %d %s", w.Code, w.Body)
		}
		if get(t, p, hook+"crm.item.get?id=1").Code != 200 || get(t, p, "/rest/1/another-code/crm.item.list").Code != 200 {
			t.Error("another method or credential is blocked too")
		}
		time.Sleep(9 * time.Minute)
		if w := get(t, p, target); w.Code != 200 {
			t.Errorf("after the reset: %d %s", w.Code, w.Body)
		}
	})
}

// Newer builds ban the method for five minutes and start from nothing.
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
			t.Errorf("%v, then %d", codes, w.Code)
		}
		if operating, _ := timeOf(t, w); operating != 0 {
			t.Errorf("operating %v after the ban, want 0", operating)
		}
	})
}

// Calls side by side do not see each other: each is booked after its answer.
func TestOperatingParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Latency: 30 * time.Second, Operating: Operating{Mode: OperatingDocumented, Limit: 20 * time.Second}})
		for range 10 {
			go get(t, p, hook+"crm.item.list")
		}
		time.Sleep(31 * time.Second)
		if p.Ran("crm.item.list") != 10 {
			t.Errorf("%d ran", p.Ran("crm.item.list"))
		}
		if w := get(t, p, hook+"crm.item.list"); w.Code != 429 {
			t.Errorf("the next: %d", w.Code)
		}
	})
}

// A batch spends the budgets of the methods inside, or as newer builds do, that
// of `batch` at half weight with the running sum in result_time.
func TestOperatingBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Operating{Mode: OperatingDocumented, Limit: 100 * time.Second,
			Charge: map[string]time.Duration{"crm.item.list": 60 * time.Second}}
		const target = hook + "batch?cmd[a]=crm.item.list&cmd[b]=crm.item.list"

		p := New(Config{Operating: o})
		get(t, p, target)
		w := get(t, p, target)
		if want := `"result_error":{"a":{"error":"OPERATION_TIME_LIMIT",`; w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("inner: %d %s", w.Code, w.Body)
		}

		o.Batch = BatchOuter
		p = New(Config{Operating: o})
		w = get(t, p, target)
		if !strings.Contains(w.Body.String(), `"operating":30}`) || !strings.Contains(w.Body.String(), `"operating":60}`) {
			t.Errorf("outer: no running sum of 30 and 60 in %s", w.Body)
		}
		if w := get(t, p, target); w.Code != 200 { // 60 s are booked, 100 s allowed
			t.Errorf("outer: the second batch got %d", w.Code)
		}
		if w := get(t, p, target); w.Code != 429 {
			t.Errorf("outer: the third batch got %d", w.Code)
		}
		if w := get(t, p, hook+"crm.item.list"); w.Code != 200 {
			t.Errorf("outer: the inner method by itself got %d", w.Code)
		}
	})
}

// An answer has neither field, one, or both, as it is told to.
func TestOperatingFields(t *testing.T) {
	for fields, want := range map[OperatingFields][2]bool{
		FieldsNone: {false, false}, FieldsOperating: {true, false}, FieldsBoth: {true, true}, "": {false, false},
	} {
		p := New(Config{Operating: Operating{Fields: fields}})
		operating, reset := timeOf(t, get(t, p, hook+"profile"))
		if (operating >= 0) != want[0] || (reset >= 0) != want[1] {
			t.Errorf("%q: operating %v, reset %v", fields, operating, reset)
		}
	}
}

// A million credentials do not make the portal grow without end.
func TestUsagesBounded(t *testing.T) {
	all := make(usages)
	for i := range 3 * maxUsages {
		all.of(text(i), 0).book(Operating{Mode: OperatingDocumented}, 0, time.Second)
	}
	if len(all) > maxUsages {
		t.Errorf("%d budgets", len(all))
	}
}
