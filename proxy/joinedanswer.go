package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// A joinedAnswer is the answer of a read that was in a batch, or an answer to all of it.
type joinedAnswer struct {
	status int
	header http.Header
	body   []byte
	reads  int // of the batch
}

// response is the answer as if the read had been alone.
func (a *joinedAnswer) response(req *http.Request, ex *exchange) *http.Response {
	resp := &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), ContentLength: int64(len(a.body)), Request: req,
	}
	resp.Body = &deliveredBody{ReadCloser: bytesBody(a.body), caller: req.Context(), exchange: ex, closed: func() {}}
	return resp
}

// answer is an answer with the headers of the batch, without those that describe it.
func (b *joinedBatch) answer(content []byte) *joinedAnswer {
	h := b.attempt.resp.Header.Clone()
	for _, name := range []string{
		"Content-Encoding", "Transfer-Encoding", "Set-Cookie", "Etag", "Last-Modified", "Server-Timing",
		"X-Bitrix-Rest-Time", "X-Bitrix-Rest-User-Time", "X-Bitrix-Rest-System-Time",
	} {
		h.Del(name)
	}
	h.Set("Content-Length", strconv.Itoa(len(content)))
	return &joinedAnswer{b.attempt.status, h, content, len(b.riders)}
}

// maxJoined bounds the answer of a batch.
const maxJoined = 64 << 20

var errNoRoomToJoin = errors.New("the answer of the batch is too long to be held")

// readAll reads the answer to its end and decodes it. The room for it is taken from the
// spool; release gives it back.
func (b *joinedBatch) readAll() (content []byte, release func(), err error) {
	resp := b.attempt.resp
	defer resp.Body.Close()
	from := io.Reader(resp.Body)
	if decoder, known := decoderOf(resp.Header, from); !known {
		return nil, func() {}, errNoRoomToJoin
	} else if decoder != nil {
		from = decoder
	}
	r := &roomyReader{from: from, room: &b.joiner.spool.memory}
	content, err = io.ReadAll(r)
	return content, func() { r.room.give(r.taken) }, err
}

// A roomyReader takes the room for what it reads.
type roomyReader struct {
	from  io.Reader
	room  *room
	taken int64
}

func (r *roomyReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.taken+int64(n) > maxJoined || !r.room.take(int64(n), r.room.size/8) {
		return 0, errNoRoomToJoin
	}
	r.taken += int64(n)
	return n, err
}

func bytesBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
