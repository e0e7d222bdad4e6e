package b24sim

import (
	"fmt"
	"maps"
	"time"
)

// Operating is the limit on the time that one method may use for one
// application or webhook. Durations are virtual.
type Operating struct {
	// Mode is the generation of the server; "" is OperatingNone.
	Mode OperatingMode
	// Limit is the time a method may use within ten minutes; 0 means 480 s, as
	// documented for the cloud.
	Limit time.Duration
	// Batch says whose budget a batch uses; "" is BatchInner.
	Batch BatchCharge
	// Fields says which fields of operating time answers have; "": as Mode has
	// them.
	Fields OperatingFields
	// Charge is the operating time of a call by method (in any case), instead of
	// the time that the call took, so that a test need not wait for 480 s.
	Charge map[string]time.Duration
}

// OperatingMode names a generation of the server.
type OperatingMode string

const (
	// OperatingNone: no limit, and answers without `operating`.
	OperatingNone OperatingMode = "none"
	// OperatingDocumented: 429 while the sum over ten one-minute baskets is
	// above the limit.
	OperatingDocumented OperatingMode = "documented"
	// OperatingBanning: going above the limit bans the method for 300 s and
	// clears its baskets, as read in newer builds.
	OperatingBanning OperatingMode = "banning"
)

// BatchCharge says whose budget a batch uses.
type BatchCharge string

const (
	// BatchInner charges the methods inside, as documented.
	BatchInner BatchCharge = "inner"
	// BatchOuter charges the method `batch` with half the time, as measured
	// and read in newer builds.
	BatchOuter BatchCharge = "outer"
)

// OperatingFields says which fields of `time` an answer has.
type OperatingFields string

const (
	// FieldsNone: neither field.
	FieldsNone OperatingFields = "none"
	// FieldsOperating: `operating` alone.
	FieldsOperating OperatingFields = "operating"
	// FieldsBoth: `operating` and `operating_reset_at`.
	FieldsBoth OperatingFields = "both"
)

const (
	defaultOperatingLimit = 480 * time.Second
	basketCount           = 10
	banLength             = 300 * time.Second
	leastBooked           = 100 * time.Millisecond // shorter calls use no budget
	maxUsages             = 10_000                 // budgets that are kept
)

func (o Operating) validate() error {
	switch o.Mode {
	case "", OperatingNone, OperatingDocumented, OperatingBanning:
	default:
		return fmt.Errorf("operating mode %q: want none, documented or banning", o.Mode)
	}
	switch o.Batch {
	case "", BatchInner, BatchOuter:
	default:
		return fmt.Errorf("operating batch %q: want inner or outer", o.Batch)
	}
	switch o.Fields {
	case "", FieldsNone, FieldsOperating, FieldsBoth:
	default:
		return fmt.Errorf("operating fields %q: want none, operating or both", o.Fields)
	}
	if o.Limit < 0 {
		return fmt.Errorf("operating limit %v: want 0 (for 480s) or more", o.Limit)
	}
	for method, d := range o.Charge {
		if d < 0 {
			return fmt.Errorf("operating charge %s=%v: want 0 or more", method, d)
		}
	}
	return nil
}

func (o Operating) active() bool {
	return o.Mode == OperatingDocumented || o.Mode == OperatingBanning
}

func (o Operating) limit() time.Duration {
	if o.Limit == 0 {
		return defaultOperatingLimit
	}
	return o.Limit
}

// usage is the operating time of one method for one credential: ten one-minute
// baskets, and the ban of newer builds.
type usage struct {
	baskets     [basketCount]basket
	bannedUntil time.Duration
}

type basket struct {
	minute int64
	used   time.Duration
}

func minute(now time.Duration) int64 { return int64(now / time.Minute) }

func (b basket) live(now time.Duration) bool {
	return b.used > 0 && b.minute > minute(now)-basketCount
}

func (u *usage) sum(now time.Duration) time.Duration {
	var sum time.Duration
	for _, b := range u.baskets {
		if b.live(now) {
			sum += b.used
		}
	}
	return sum
}

// resetAt is when the oldest basket is dropped, or when the ban ends; 0 if nothing
// was used.
func (u *usage) resetAt(now time.Duration) time.Duration {
	if now < u.bannedUntil {
		return u.bannedUntil
	}
	oldest := int64(-1)
	for _, b := range u.baskets {
		if b.live(now) && (oldest < 0 || b.minute < oldest) {
			oldest = b.minute
		}
	}
	if oldest < 0 {
		return 0
	}
	return time.Duration(oldest+basketCount) * time.Minute
}

func (u *usage) book(o Operating, now, took time.Duration) {
	if took <= leastBooked {
		return
	}
	m := minute(now)
	b := &u.baskets[m%basketCount]
	if b.minute != m {
		*b = basket{minute: m}
	}
	b.used += took
	if o.Mode == OperatingBanning && u.sum(now) > o.limit() {
		*u = usage{bannedUntil: now + banLength}
	}
}

func (u *usage) blocked(o Operating, now time.Duration) bool {
	if o.Mode == OperatingBanning {
		return now < u.bannedUntil
	}
	return u.sum(now) > o.limit()
}

// usages are all budgets of a portal, by credential and method.
type usages map[string]*usage

// of returns the budget under key. When there are too many, it drops the unused
// ones, and if that is not enough, others until a quarter is free again.
func (all usages) of(key string, now time.Duration) *usage {
	if u := all[key]; u != nil {
		return u
	}
	if len(all) >= maxUsages {
		all.shrink(now)
	}
	u := &usage{}
	all[key] = u
	return u
}

func (all usages) shrink(now time.Duration) {
	maps.DeleteFunc(all, func(_ string, u *usage) bool { return u.resetAt(now) == 0 })
	for key := range all {
		if len(all) <= maxUsages*3/4 {
			return
		}
		delete(all, key)
	}
}
