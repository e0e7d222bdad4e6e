package bitrix24

import (
	"testing"
	"time"
)

// A time element has three states, and values that make no sense are left out.
func TestTime(t *testing.T) {
	reset := time.Unix(1778747792, 0)
	tests := map[string]Time{
		`{}`:                {},
		`{"operating":3.5}`: {Operating: 3.5, HasOperating: true},
		`{"operating":0}`:   {HasOperating: true},
		`{"operating":"3.5","operating_reset_at":"1778747792"}`:   {Operating: 3.5, HasOperating: true, ResetAt: reset},
		`{"operating_reset_at":1778747792.5}`:                     {ResetAt: reset.Add(time.Second / 2)},
		`{"operating_reset_at":1778747792,"finish":1778747192.5}`: {ResetAt: reset, Finish: reset.Add(-599500 * time.Millisecond)},
		`{"duration":0.62,"processing":0.03}`:                     {Duration: 620 * time.Millisecond, Processing: 30 * time.Millisecond},
		`{"duration":1e9,"processing":-1}`:                        {Duration: time.Hour},
		`{"operating":-1,"operating_reset_at":-1}`:                {},
		`{"operating":null,"operating_reset_at":1e300}`:           {},
		`{"operating_reset_at":7258118399}`:                       {ResetAt: time.Date(2199, 12, 31, 23, 59, 59, 0, time.UTC).Local()},
		`{"operating_reset_at":7258118400}`:                       {},
		`{"operating":1e999}`:                                     {},
		`[]`:                                                      {},
		`null`:                                                    {},
	}
	for body, want := range tests {
		a := Examine(ParseCall("/rest/a.b"), 200, "", []byte(`{"result":1,"time":`+body+`}`))
		if a.Time != want {
			t.Errorf("%s: got %+v, want %+v", body, a.Time, want)
		}
	}
	a := Examine(ParseCall("/rest/a.b.xml"), 200, "", []byte(`<response><result><time><operating>9</operating></time></result>`+
		`<time><operating>3.5</operating><operating_reset_at>1778747792</operating_reset_at></time><total>1</total></response>`))
	if want := (Time{Operating: 3.5, HasOperating: true, ResetAt: reset}); a.Time != want {
		t.Errorf("in XML: got %+v, want %+v", a.Time, want)
	}
}

// How long a sum remains is counted on the portal's clock if the answer shows it,
// whatever it shows, and else on our own.
func TestUntilReset(t *testing.T) {
	finish := time.Unix(1, 0)
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		time Time
		want time.Duration
	}{
		{Time{Finish: finish, ResetAt: finish.Add(time.Minute)}, time.Minute},
		{Time{Finish: finish, ResetAt: finish.Add(610 * time.Second)}, 610 * time.Second},
		{Time{Finish: finish, ResetAt: finish.Add(611 * time.Second)}, 0},
		{Time{Finish: finish, ResetAt: finish.Add(-time.Minute)}, 0},
		{Time{Finish: now.Add(time.Minute), ResetAt: now.Add(time.Minute)}, 0},
		{Time{Finish: finish, ResetAt: now.Add(time.Minute)}, time.Minute},
		{Time{Finish: now.Add(-time.Hour), ResetAt: now.Add(3 * time.Second)}, 3 * time.Second},
		{Time{ResetAt: now.Add(5 * time.Minute)}, 5 * time.Minute},
		{Time{ResetAt: now.Add(-5 * time.Minute)}, 0},
		{Time{Finish: finish}, 0},
	} {
		if got := test.time.UntilReset(now); got != test.want {
			t.Errorf("%+v: got %v, want %v", test.time, got, test.want)
		}
	}
}
