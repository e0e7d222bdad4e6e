package bitrix24

import "bytes"

const (
	// HeadLimit is how many bytes of an answer are held before it may stream.
	HeadLimit = 64 << 10

	// errorLimit is how many bytes are held of an answer that began as an
	// error and has not ended. None is as long.
	errorLimit = 1 << 20

	// tailLimit is how many bytes before the end are kept of an answer that
	// streams: the time element has less than 400.
	tailLimit = 4 << 10
)

// Verdict is what Scanner.Head has decided.
type Verdict int

const (
	// VerdictMore: hold what has been read, read on, and ask again.
	VerdictMore Verdict = iota
	// VerdictWhole: pass nothing on and read no more; Finish knows the answer.
	VerdictWhole
	// VerdictStream: pass on what is held and all that follows, as it came.
	VerdictStream
)

// A Scanner tells what an answer means while it passes, in bounded memory.
//
// Head gets what has been read so far, from the start and growing, until it
// says Whole or Stream. After Stream every later byte goes to Write. Finish
// ends both ways.
//
// An answer of at most HeadLimit bytes is always examined whole, so that one
// which was cut off becomes an error and not half a success; a failing one, of
// 4xx or 5xx or with an error in its head, up to a megabyte. Of a longer one the
// head decides. Of what streams only the end is looked at, at the speed of
// a copy; a batch of version 2 in JSON alone is walked, for the errors and
// times inside (those of a long XML batch are not seen). A long answer is
// therefore known to be truncated only when its end is not that of a JSON
// text, or when Finish is told so; a batch always.
type Scanner struct {
	call        Call
	status      int
	contentType string

	verdict   Verdict
	whole     []byte
	failing   bool // held for longer, since it fails or may
	firstByte byte
	tail      tail
	walker    *walker // of a batch
}

// NewScanner returns a Scanner for the answer to call. The bytes it is given
// must be uncompressed.
func NewScanner(call Call, status int, contentType string) *Scanner {
	return &Scanner{call: call, status: status, contentType: contentType}
}

// Head decides by what is held of the answer, which is all of it at eof. The
// Scanner may keep held until Finish.
func (s *Scanner) Head(held []byte, eof bool) Verdict {
	if s.verdict != VerdictMore {
		return s.verdict
	}
	s.verdict = s.decide(held, eof)
	switch s.verdict {
	case VerdictWhole:
		s.whole = held
	case VerdictStream:
		text := trimStart(held)
		if s.call.Batch() && s.call.Version == 2 && bytes.HasPrefix(text, []byte("{")) {
			s.walker = new(walker)
		}
		if len(text) > 0 {
			s.firstByte = text[0]
		}
		_, _ = s.Write(text)
	}
	return s.verdict
}

func (s *Scanner) decide(held []byte, eof bool) Verdict {
	switch {
	case untouched(s.call, s.status):
		return VerdictStream
	case eof:
		return VerdictWhole
	case len(held) <= HeadLimit, s.failing && len(held) <= errorLimit:
		return VerdictMore
	}
	hasResult, hasError, known := topLevel(trimStart(held))
	switch {
	case !known: // a page, however long
		return VerdictWhole
	case s.status >= 400 && !s.failing:
		s.failing = true
		return VerdictMore
	case s.status >= 500:
		return VerdictWhole
	case hasResult:
		return VerdictStream
	case hasError && !s.failing:
		s.failing = true
		return VerdictMore
	case hasError:
		return VerdictWhole
	}
	return VerdictStream
}

// topLevel tells which of the deciding keys stand in the head of an answer;
// known is false where it is neither JSON nor XML of the API.
func topLevel(head []byte) (hasResult, hasError, known bool) {
	switch {
	case isXML(head):
		inside := xmlOpening.ReplaceAll(head, nil)
		children := xmlChildren(inside)
		_, hasResult = children["result"]
		return hasResult, bytes.HasPrefix(bytes.TrimSpace(inside), []byte("<error>")), true
	case bytes.HasPrefix(head, []byte("[")):
		return false, false, true
	case bytes.HasPrefix(head, []byte("{")):
		var w walker
		w.write(head)
		return w.hasResult, w.hasError, true
	}
	return false, false, false
}

// Write takes note of bytes that stream. It never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	s.tail.write(p)
	if s.walker != nil {
		s.walker.write(p)
	}
	return len(p), nil
}

// Finish tells what the answer means, once it has ended; complete is false
// when it broke off. The answer of one that streamed has neither fields nor a
// body: it has passed already.
func (s *Scanner) Finish(complete bool) Answer {
	if s.verdict == VerdictWhole {
		return Examine(s.call, s.status, s.contentType, s.whole)
	}
	a := Answer{call: s.call, status: s.status, contentType: s.contentType}
	if untouched(s.call, s.status) {
		return a
	}
	text := trimEnd(s.tail)
	if !complete || s.verdict == VerdictMore || !s.ended(text) {
		a.noAnswer(ReasonTruncated)
		return a
	}
	a.Kind = KindOK
	switch s.firstByte {
	case '<':
		a.Time = xmlTime(text)
	case '{':
		a.Time = timeAtEnd(text)
	}
	if s.walker != nil {
		s.walker.report(&a)
	}
	return a
}

// ended tells whether the end of an answer looks like one.
func (s *Scanner) ended(text []byte) bool {
	switch {
	case s.walker != nil:
		return s.walker.ended()
	case s.firstByte == '<':
		return bytes.HasSuffix(text, []byte(xmlClosing))
	case s.firstByte == '[':
		return bytes.HasSuffix(text, []byte("]"))
	}
	return bytes.HasSuffix(text, []byte("}"))
}
