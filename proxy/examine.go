package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"b24proxy/proxy/bitrix24"
)

// An examination looks at an answer while it passes, as the body of the
// response. The first part of an answer is held back until it is known whether
// it will pass; of a long one the rest streams. What it means is learned once,
// at its end, or when nobody reads on.
type examination struct {
	resp    *http.Response
	call    bitrix24.Call
	hint    bitrix24.FileHint
	body    io.ReadCloser // the portal's, as it comes
	scanner *bitrix24.Scanner
	learn   func(bitrix24.Answer)
	once    sync.Once

	source  tap       // of the decoder
	decoder io.Reader // nil: the answer is plain
	garbled bool      // the answer cannot be decoded, or not to its end

	text []byte       // the head, decoded
	held []byte       // the head as it came, not yet passed on
	err  error        // that body ended with: io.EOF, or it broke off
	look *sideDecoder // at what streams encoded
}

// maxHeld bounds what is held back. Plain text never reaches it: the scanner has
// decided before. Compressed nothing might.
const maxHeld = 2 << 20

var errTooLong = errors.New("too much of the answer says nothing")

// examine finds out what an answer means as far as it must be known before it
// passes; learn is called with all of it, now or when it has passed. What comes
// out of resp.Body afterwards is what came in.
func examine(resp *http.Response, call bitrix24.Call, learn func(bitrix24.Answer)) bitrix24.Answer {
	contentType := resp.Header.Get("Content-Type")
	hint := bitrix24.FileHintOf(resp.StatusCode, resp.Header.Get("Content-Disposition"), resp.Header.Get("Content-Range"), contentType)
	if hint == bitrix24.FileHintYes || !call.REST() || isBare(resp) {
		learn(bitrix24.Answer{})
		return bitrix24.Answer{}
	}
	x := &examination{
		resp: resp, call: call, hint: hint, body: resp.Body, learn: learn,
		scanner: bitrix24.NewScanner(call, resp.StatusCode, contentType),
	}
	resp.Body = x
	verdict := x.readHead()
	switch {
	case verdict == bitrix24.VerdictStream:
		x.stream()
		return bitrix24.Answer{Kind: bitrix24.KindOK}
	case verdict == bitrix24.VerdictMore: // it broke off: whatever came of it is no answer
		answer := bitrix24.NewScanner(call, resp.StatusCode, "").Finish(false)
		if errors.Is(context.Cause(resp.Request.Context()), errTimeout) {
			answer.Reason = bitrix24.ReasonTimeout
		}
		x.settle(answer)
		return answer
	}
	answer := x.judge(x.scanner.Finish(true))
	x.settle(answer)
	return answer
}

// isBare reports whether an answer says all by its header: a redirect, and that
// to a request which asks for no content, unless it failed.
func isBare(resp *http.Response) bool {
	method, status := resp.Request.Method, resp.StatusCode
	return 300 <= status && status < 400 || (method == http.MethodHead || method == http.MethodOptions) && status < 500
}

// readHead reads until the scanner has decided; More says that the answer broke
// off before.
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

// readSome adds to the head and reports whether it is all of the answer, as far
// as that can be read.
func (x *examination) readSome() (whole bool) {
	x.text = slices.Grow(x.text, 4<<10)
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
	if x.garbled && len(x.text) == 0 { // perhaps it is not encoded at all
		x.text, x.decoder = x.held, nil
		return x.err != nil
	}
	return err != nil
}

// isEnd reports whether a decoder met the end of what it decodes, be it in the
// middle.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// stream lets the rest of an answer pass.
func (x *examination) stream() {
	if x.decoder != nil {
		x.look = newSideDecoder(x.decoder, &x.source, len(x.text), x.scanner)
	}
	x.text = nil
}

// judge says what an answer is that looks like none of the API: what cannot be
// decoded is judged by its status, and a file is none of our business.
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
		return n, io.ErrUnexpectedEOF // it ends in the middle; so must the caller's
	}
	return n, x.err
}

func (x *examination) see(p []byte) {
	switch {
	case x.look != nil:
		x.look.Write(p)
	case x.decoder == nil:
		x.scanner.Write(p)
	}
}

// Close ends the examination of what nobody reads on.
func (x *examination) Close() error {
	x.finish()
	return x.body.Close()
}

func (x *examination) finish() (a bitrix24.Answer) {
	x.once.Do(func() {
		a = x.outcome()
		x.learn(a)
	})
	return a
}

// outcome is what became of an answer that streamed. That a caller left, or that
// the look at it was not worth its price, is no failure of the portal.
func (x *examination) outcome() bitrix24.Answer {
	ended := errors.Is(x.err, io.EOF)
	broke := x.err != nil && !ended && !hasLeft(x.resp.Request.Context())
	sawAll := x.look == nil || x.look.close(ended || broke)
	if broke || ended && sawAll && !x.garbled {
		return x.scanner.Finish(ended)
	}
	return bitrix24.Answer{Kind: bitrix24.KindOK}
}

// hasLeft reports whether an attempt was given up here, and not for the portal's
// silence.
func hasLeft(attempt context.Context) bool {
	return attempt.Err() != nil && !errors.Is(context.Cause(attempt), errTimeout)
}

func (x *examination) settle(a bitrix24.Answer) { x.once.Do(func() { x.learn(a) }) }
