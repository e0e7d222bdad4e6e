package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"b24proxy/proxy/bitrix24"
)

// An examination is the body of a response, and finds out what the answer means while
// it passes. It holds the beginning back until it knows whether the answer will pass;
// the rest of a long one streams. It calls learn once: at the end of the answer, or
// when nobody reads on.
type examination struct {
	resp    *http.Response
	call    bitrix24.Call
	hint    bitrix24.FileHint
	body    io.ReadCloser // as the portal sends it
	scanner *bitrix24.Scanner
	learn   func(bitrix24.Answer)
	crashed func(cause any) // records a panic of another goroutine
	once    sync.Once

	source  tap       // what the decoder reads from
	decoder io.Reader // nil: the answer has no encoding
	garbled bool      // the answer cannot be decoded, or not to its end

	text []byte       // the beginning, decoded
	lent bool         // text is to be used again for another answer
	held []byte       // the beginning as it came, as far as it has not passed yet
	err  error        // what ended body: io.EOF, or it broke off
	side *sideDecoder // of what streams encoded
}

// examine returns what an answer means, as far as that must be known before it
// passes. It calls learn with the whole meaning, now or when the answer has passed, and
// crashed if something panics beside that. Afterwards resp.Body yields the same bytes as before.
func examine(resp *http.Response, call bitrix24.Call, learn func(bitrix24.Answer), crashed func(cause any)) bitrix24.Answer {
	contentType := resp.Header.Get("Content-Type")
	hint := bitrix24.FileHintOf(resp.StatusCode, resp.Header.Get("Content-Disposition"), resp.Header.Get("Content-Range"), contentType)
	if hint == bitrix24.FileHintYes || !call.REST() || isBare(resp) {
		learn(bitrix24.Answer{})
		return bitrix24.Answer{}
	}
	x := &examination{
		resp: resp, call: call, hint: hint, body: resp.Body, learn: learn, crashed: crashed,
		scanner: bitrix24.NewScanner(call, resp.StatusCode, contentType),
	}
	resp.Body = x
	verdict := x.readHead()
	switch {
	case verdict == bitrix24.VerdictStream:
		x.stream()
		return bitrix24.Answer{Kind: bitrix24.KindOK}
	case verdict == bitrix24.VerdictMore: // it broke off, so it is not an answer
		answer := bitrix24.NewScanner(call, resp.StatusCode, "").Finish(false)
		if errors.Is(context.Cause(resp.Request.Context()), errTimeout) {
			answer.Reason = bitrix24.ReasonTimeout
		}
		x.settle(answer)
		return answer
	}
	answer := x.judge(x.scanner.Finish(true))
	x.lent = answer.Kind == bitrix24.KindOK // the meaning of an error keeps its text
	x.settle(answer)
	x.setLength()
	return answer
}

// setLength gives an answer that is held as a whole its length. ReverseProxy would
// flush each piece of one whose length is not known, and net/http would send it in
// chunks.
func (x *examination) setLength() {
	r := x.resp
	if errors.Is(x.err, io.EOF) && r.ContentLength < 0 && len(r.Trailer) == 0 && r.Request.Method != http.MethodHead {
		r.ContentLength, r.TransferEncoding = int64(len(x.held)), nil
		r.Header.Set("Content-Length", strconv.Itoa(len(x.held)))
	}
}

// isBare reports whether the header of an answer says everything: that of a redirect,
// and of a successful answer to HEAD or OPTIONS.
func isBare(resp *http.Response) bool {
	method, status := resp.Request.Method, resp.StatusCode
	return 300 <= status && status < 400 || (method == http.MethodHead || method == http.MethodOptions) && status < 500
}

// readHead reads until the scanner has decided. It returns VerdictMore if the answer
// broke off before that.
func (x *examination) readHead() bitrix24.Verdict {
	var known bool
	x.source = tap{from: x.body, keep: true}
	x.decoder, known = decoderOf(x.resp.Header, &x.source)
	x.garbled = !known
	for {
		whole := x.readSome()
		if x.err != nil && !errors.Is(x.err, io.EOF) {
			return bitrix24.VerdictMore
		}
		if verdict := x.scanner.Head(x.text, whole); verdict != bitrix24.VerdictMore {
			return verdict
		}
	}
}

// leastRead is the room for which an answer is read on; its last read finds only the end.
const leastRead = 512

// readSome reads more of the beginning and reports whether that is all of the answer,
// as far as it can be decoded.
func (x *examination) readSome() (whole bool) {
	switch {
	case x.text == nil:
		x.text = texts.Get()[:0]
	case cap(x.text)-len(x.text) < leastRead:
		x.text = slices.Grow(x.text, 4<<10)
	}
	free := x.text[len(x.text):cap(x.text)]
	if x.decoder == nil {
		n, err := x.body.Read(free)
		x.text, x.err = x.text[:len(x.text)+n], err
		x.held = x.text
		return err != nil
	}
	n, err := x.decoder.Read(free)
	x.text = x.text[:len(x.text)+n]
	x.held, x.err = x.source.kept, x.source.err
	x.garbled = err != nil && !isEnd(err)
	if x.garbled && len(x.text) == 0 { // perhaps it is not encoded, whatever its header says
		x.text, x.decoder = x.held, nil
		return x.err != nil
	}
	return err != nil
}

// stream lets the rest of an answer pass.
func (x *examination) stream() {
	if x.decoder != nil {
		x.side = newSideDecoder(x.decoder, &x.source, len(x.text), x.scanner, x.crashed)
	}
	x.text = nil
}

// judge decides about an answer that does not look like one of the API: one that
// cannot be decoded is judged by its status, and a file is left alone.
func (x *examination) judge(a bitrix24.Answer) bitrix24.Answer {
	isPage := a.Reason == bitrix24.ReasonHTML
	switch {
	case a.Kind != bitrix24.KindNoAnswer:
	case x.garbled && !isPage && len(x.held) > 0:
		return bitrix24.Unreadable(x.call, x.resp.StatusCode, x.resp.Header.Get("Content-Type"))
	case x.hint == bitrix24.FileHintMaybe && (isPage || a.Reason == bitrix24.ReasonNotJSON):
		return bitrix24.Answer{}
	}
	return a
}

// Read passes the answer on.
func (x *examination) Read(p []byte) (n int, err error) {
	if len(x.held) > 0 {
		n = copy(p, x.held)
		x.held = x.held[n:]
		return n, nil
	}
	if x.err == nil {
		n, x.err = x.body.Read(p)
		x.see(p[:n])
	}
	if x.err == nil {
		return n, nil
	}
	if a := x.finish(); errors.Is(x.err, io.EOF) && a.Kind == bitrix24.KindNoAnswer {
		return n, io.ErrUnexpectedEOF // the answer ends too early, and the caller must notice
	}
	return n, x.err
}

func (x *examination) see(p []byte) {
	switch {
	case x.side != nil:
		x.side.Write(p)
	case x.decoder == nil:
		x.scanner.Write(p)
	}
}

// Close ends the examination of an answer that nobody reads to its end.
func (x *examination) Close() error {
	x.finish()
	if x.lent {
		texts.Put(x.text)
		x.lent, x.text, x.held = false, nil, nil
	}
	return x.body.Close()
}

func (x *examination) finish() (a bitrix24.Answer) {
	x.once.Do(func() {
		a = x.outcome()
		x.learn(a)
	})
	return a
}

// outcome returns what an answer that streamed means. It is not the portal's failure
// if the caller left, or if decoding the answer would have cost too much.
func (x *examination) outcome() bitrix24.Answer {
	ended := errors.Is(x.err, io.EOF)
	broke := x.err != nil && !ended && !hasLeft(x.resp.Request.Context())
	sawAll := x.side == nil || x.side.close(ended || broke)
	if broke || ended && sawAll && !x.garbled {
		return x.scanner.Finish(ended)
	}
	return bitrix24.Answer{Kind: bitrix24.KindOK}
}

// hasLeft reports whether an attempt was given up for another reason than the
// portal's silence.
func hasLeft(attempt context.Context) bool {
	return attempt.Err() != nil && !errors.Is(context.Cause(attempt), errTimeout)
}

// isHeld reports whether an answer has come as a whole, and is held.
func isHeld(resp *http.Response) bool {
	x, isExamined := resp.Body.(*examination)
	return isExamined && errors.Is(x.err, io.EOF)
}

func (x *examination) settle(a bitrix24.Answer) { x.once.Do(func() { x.learn(a) }) }
