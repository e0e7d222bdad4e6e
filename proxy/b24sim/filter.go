package b24sim

import "regexp"

// inputFilter is the filter of input of the portal, if it is on. The real one has
// hundreds of rules; here, a blank splits whatever is near one of them, so that a
// caller who relies on its text arriving unchanged is found out.
type inputFilter bool

var suspicious = regexp.MustCompile(`(?is)[<(\\]|/\.\./|script|behavior|expression|` +
	`union.+?select|select.+?from|from.+?(?:where|limit)|` +
	`(?:alter|create|drop).+?(?:database|table|function|procedure|server|event|view|index)|` +
	`update.+?set|insert.+?(?:value|set|select|into)|into.+?(?:outfile|dumpfile)|load_file`)

// apply returns a with its keys and texts filtered.
func (f inputFilter) apply(a *array) *array {
	if !f {
		return a
	}
	out := &array{}
	for _, key := range a.keys {
		value := a.values[key]
		switch v := value.(type) {
		case *array:
			value = f.apply(v)
		case string:
			value = split(v)
		}
		out.set(split(key), value)
	}
	return out
}

func split(s string) string {
	return suspicious.ReplaceAllStringFunc(s, func(found string) string { return found[:1] + " " + found[1:] })
}
