package bitrix24

import "bytes"

const (
	// HeadLimit is how many bytes of an answer are held back before it may stream.
	HeadLimit = 64 << 10

	// errorLimit is how many bytes are held back of an answer that began as an
	// error and has not ended. Errors are shorter than that.
	errorLimit = 1 << 20

	// tailLimit is how many of the last bytes are kept of an answer that streams.
	// The time element in them has less than 400.
	tailLimit = 4 << 10
)

// Verdict is what Scanner.Head has decided.
type Verdict int

const (
	// VerdictMore: hold back what has been read, read on, and ask again.
	VerdictMore Verdict = iota
	// VerdictWhole: pass nothing on and stop reading; Finish knows the answer.
	VerdictWhole
	// VerdictStream: pass on what is held back and all that follows, as it comes.
	VerdictStream
)

// A Scanner finds out what an answer means while it passes, in bounded memory.
//
// Call Head with what has been read so far, from the start, until it returns
// VerdictWhole or VerdictStream. After VerdictStream, give all later bytes to
// Write. In both cases call Finish at the end.
//
// An answer of at most HeadLimit bytes is always examined whole, so that one that
// was cut off becomes an error and not half a success. An answer that fails, by a
// status of 4xx or 5xx or an error in its head, is examined whole up to a megabyte.
// A longer answer is judged by its head and streams. Then only its end is read,
// which costs no more than a copy. A batch of version 2 in JSON is read throughout,
// for the errors and times inside; those of a long XML batch are not found. So a
// long answer is known to be truncated only if its end is not that of a JSON text,
// or if the caller of Finish says so; a long batch always is.
type Scanner struct {
	call        Call
	status      int
	contentType string

	verdict   Verdict
	whole     []byte
	failing   bool // it fails, or may, and is held back for longer
	firstByte byte
	tail      tail
	walker    *walker // for a batch, else nil
}

// NewScanner returns a Scanner for the answer to call. Its input must be
// uncompressed.
func NewScanner(call Call, status int, contentType string) *Scanner {
	return &Scanner{call: call, status: status, contentType: contentType}
}

// Head decides by what has been read of the answer, which is all of it if eof is
// true. The Scanner may keep held until Finish.
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
	case !known: // a page, of whatever length
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

// topLevel reports which of the two deciding keys the head of an answer has. known
// is false if it is neither JSON nor XML of the API.
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

// Write reads bytes that stream. It never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	s.tail.write(p)
	if s.walker != nil {
		s.walker.write(p)
	}
	return len(p), nil
}

// Finish returns what the answer means, once it has ended. complete is false if
// it broke off. An Answer that streamed has neither fields nor a body.
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

// ended reports whether the text ends as an answer does.
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
