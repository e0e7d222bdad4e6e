package bitrix24

import (
	"bytes"
	"encoding/json"
	"strconv"
)

const (
	// maxLevel is how deep names are tracked: result, result_error, command.
	maxLevel = 3
	// maxKept bounds a name or value that is kept. Inside a batch they have some
	// hundred bytes.
	maxKept = 8 << 10
)

// A walker reads a JSON object as it passes, in pieces of any size, and keeps a few
// values: the time at the top level, and what a batch says about its commands. It
// tracks nesting and strings and checks nothing else.
type walker struct {
	hasResult, hasError bool // whether the top level has these keys

	depth  int
	levels [maxLevel + 1]level // the open containers, from 1

	inString bool
	escaped  bool // the next byte of the string is escaped
	naming   bool // the string is a name
	wantName bool // the next string is a name

	keeping int // the depth of the value that is being kept, 0 if none is
	kept    []byte

	time  Time
	inner Answer // Inner and InnerTimes
}

type level struct {
	object bool
	name   string // of the current member
	index  int    // of the current element
}

func (w *walker) write(p []byte) {
	for i := 0; i < len(p); {
		switch {
		case w.inString:
			i = w.passString(p, i)
		case w.depth > maxLevel && w.keeping == 0:
			i = w.skip(p, i)
		default:
			w.passByte(p[i])
			i++
		}
	}
}

// skip reads from i, which is outside of strings, to the end of a container, and
// returns where it stopped. All that is too deep to matter, which is most of a
// batch.
func (w *walker) skip(p []byte, i int) int {
	for i < len(p) {
		b := p[i]
		i++
		switch b {
		case '{', '[':
			w.depth++
		case '}', ']':
			w.depth--
			return i
		case '"':
			for i < len(p) && p[i] != '"' {
				if p[i] == '\\' {
					i++
				}
				i++
			}
			if i >= len(p) {
				w.inString, w.escaped = true, i > len(p)
				return len(p)
			}
			i++
		}
	}
	return i
}

// passByte reads a byte outside of strings.
func (w *walker) passByte(b byte) {
	switch b {
	case ' ', '\t', '\r', '\n', ':':
	case '"':
		w.inString = true
		if w.wantName && w.keeping == 0 {
			w.naming, w.wantName = true, false
			w.kept = w.kept[:0]
		} else {
			w.beginValue()
		}
	case '{', '[':
		w.beginValue()
		w.depth++
		w.wantName = false
		if w.depth <= maxLevel {
			w.levels[w.depth] = level{object: b == '{'}
			w.wantName = b == '{'
		}
	case '}', ']':
		w.endValue() // a number before it
		w.depth = max(0, w.depth-1)
		w.wantName = false
		w.keep(b)
		w.endValue()
		return
	case ',':
		w.endValue()
		if 1 <= w.depth && w.depth <= maxLevel {
			w.wantName = w.levels[w.depth].object
			w.levels[w.depth].index++
		}
	default:
		w.beginValue()
	}
	w.keep(b)
}

// passString reads a string from i on and returns where it ends.
func (w *walker) passString(p []byte, i int) int {
	start := i
	if w.escaped {
		start++
		w.escaped = false
	}
	for from := start; ; {
		n := bytes.IndexByte(p[from:], '"')
		if n < 0 {
			w.escaped = oddBackslashes(p[start:])
			w.keep(p[i:]...)
			return len(p)
		}
		from += n + 1
		if oddBackslashes(p[start : from-1]) {
			continue
		}
		w.inString = false
		if w.naming {
			w.keep(p[i : from-1]...)
			w.endName()
		} else {
			w.keep(p[i:from]...)
			w.endValue()
		}
		return from
	}
}

// keep appends to the name or value that is being kept.
func (w *walker) keep(p ...byte) {
	if w.keeping != 0 || w.naming {
		w.kept = append(w.kept, p[:min(len(p), maxKept-len(w.kept))]...)
	}
}

func (w *walker) endName() {
	w.naming = false
	at := &w.levels[w.depth]
	at.name = string(w.kept[1:]) // without the quotation mark
	if bytes.Contains(w.kept, []byte(`\`)) {
		_ = json.Unmarshal(append(w.kept, '"'), &at.name)
	}
	if w.depth == 1 {
		w.hasResult = w.hasResult || at.name == "result"
		w.hasError = w.hasError || at.name == "error"
	}
}

// beginValue decides whether the value that begins here is kept.
func (w *walker) beginValue() {
	if w.keeping == 0 && w.wanted() {
		w.keeping = w.depth
		w.kept = w.kept[:0]
	}
}

func (w *walker) wanted() bool {
	switch w.depth {
	case 1:
		return w.levels[1].name == "time"
	case 3:
		name := w.levels[2].name
		return (name == "result_error" || name == "result_time") && w.levels[1].name == "result"
	}
	return false
}

// endValue uses the value that is being kept, if it ends at this depth.
func (w *walker) endValue() {
	if w.keeping == 0 || w.keeping != w.depth {
		return
	}
	w.keeping = 0
	if w.depth == 1 {
		w.time = timeOf(w.kept)
		return
	}
	key := w.levels[3].name
	if !w.levels[3].object {
		key = strconv.Itoa(w.levels[3].index)
	}
	switch w.levels[2].name {
	case "result_error":
		w.inner.addInnerError(key, innerCode(w.kept))
	case "result_time":
		w.inner.addInnerTime(key, timeOf(w.kept))
	}
}

// ended reports whether the object has been closed.
func (w *walker) ended() bool { return w.depth == 0 && !w.inString }

// report copies what was kept to an answer.
func (w *walker) report(a *Answer) {
	a.Time, a.Inner, a.InnerTimes = w.time, w.inner.Inner, w.inner.InnerTimes
}
