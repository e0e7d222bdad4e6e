package b24sim

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// budgetKey names the budget of operating time that a method uses.
func (x *exchange) budgetKey(method string) string {
	return x.cred.kind + "|" + x.cred.id + "|" + method
}

// charged reports whether calls of a method are charged: a batch is not, if its
// inner methods are.
func (x *exchange) charged(method string) bool {
	o := x.config.Operating
	if !o.active() {
		return false
	}
	return method != "batch" || o.Batch == BatchOuter
}

// blocked reports whether the budget of a method is used up.
func (x *exchange) blocked(method string) bool {
	if !x.charged(method) {
		return false
	}
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	now := x.p.clock.now()
	return x.p.usages.of(x.budgetKey(method), now).blocked(x.config.Operating, now)
}

// took is the operating time of a call: what Config charges for it, else the
// virtual time since it arrived.
func (x *exchange) took(method string) time.Duration {
	if d, ok := x.charge(method); ok {
		return d
	}
	return x.config.Latency + x.slow + x.inner
}

func (x *exchange) charge(method string) (time.Duration, bool) {
	for name, d := range x.config.Operating.Charge {
		if strings.EqualFold(name, method) {
			return d, true
		}
	}
	return 0, false
}

// book adds to the budget of a method. It runs after the answer is made, so calls
// at the same time do not see each other.
func (x *exchange) book(method string, took time.Duration) {
	if !x.charged(method) {
		return
	}
	if method == "batch" {
		took /= 2
	}
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	now := x.p.clock.now()
	x.p.usages.of(x.budgetKey(method), now).book(x.config.Operating, now, took)
}

// timeObject is the `time` of an answer. Its instants are on the real clock, so
// that callers can compare them with theirs. `operating` is virtual time, with
// extra added.
func (x *exchange) timeObject(method string, started, extra time.Duration) *array {
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	now := x.p.clock.now()
	start, finish := x.p.clock.instant(started), x.p.clock.instant(now)
	t := object(
		"start", unix(start),
		"finish", unix(finish),
		"duration", seconds(finish.Sub(start)),
		"processing", seconds(finish.Sub(start)/2),
		"date_start", start.Format(time.RFC3339),
		"date_finish", finish.Format(time.RFC3339),
	)
	o := x.config.Operating
	if !o.active() && (o.Fields == "" || o.Fields == FieldsNone) || o.Fields == FieldsNone {
		return t
	}
	u := &usage{}
	if o.active() {
		u = x.p.usages.of(x.budgetKey(method), now)
	}
	if reset := u.resetAt(now); o.Fields == FieldsBoth || o.Fields == "" && reset > 0 {
		if reset == 0 {
			reset = now + basketCount*time.Minute
		}
		t.set("operating_reset_at", json.Number(strconv.FormatInt(x.p.clock.instant(reset).Unix(), 10)))
	}
	t.set("operating", seconds(u.sum(now)+extra))
	return t
}

func seconds(d time.Duration) json.Number {
	return json.Number(strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
}

func unix(t time.Time) json.Number {
	return json.Number(strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', 6, 64))
}
