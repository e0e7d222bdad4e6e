package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// The body of a request is read before the wait for a slot, since net/http notices
// that a caller has left only after it has read the body, and since a refused call is
// sent again. Small bodies are kept in memory and larger ones in a file. The last user
// of a body gives back what the call took from the spool, including its headers.
type body struct {
	head  []byte   // all of the body, or its beginning if there is a file
	file  *os.File // all of the body, or nil if head is
	path  string   // of the file, or "" if that has no name
	size  int64
	sum   hash.Hash    // of what is on disk, if that was asked for
	users atomic.Int32 // the exchange and the readers

	spool        *spool
	memory, disk int64 // taken from the spool
}

const (
	bodyInMemory = 256 << 10
	bodyTime     = 10 * time.Minute // how long a body may take at any rate
	bodyRate     = 1 << 10          // bytes for which it may take another second

	firstStep = 512     // bytes of memory that a body takes at first, unless it is shorter
	beginning = 4 << 10 // bytes of a body that may use the room of the headers, since they name the caller
)

var (
	errTooLarge = errors.New("request body too large")
	errNotKept  = errors.New("the proxy cannot keep the request")
	errNoRoom   = fmt.Errorf("%w: other requests use all the room in memory and on disk (B24PROXY_SPOOL_LIMIT)", errNotKept)
)

// read takes the memory for a request's headers and reads its body to the end. It
// fails with errTooLarge, with errNotKept, or with the error of reading. What does not
// fit into memory is added to the sum that begin begins, which may be nil.
func (s *spool) read(w http.ResponseWriter, r *http.Request, limit int64, begin func(head []byte) hash.Hash) (*body, error) {
	b := &body{spool: s}
	b.users.Add(1)
	if err := b.read(w, r, limit, begin); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// keep makes a body of bytes that are here. ok is false if there is no room for them.
func (s *spool) keep(content []byte) (b *body, ok bool) {
	b = &body{spool: s, head: content, size: int64(len(content))}
	b.users.Add(1)
	return b, b.takeMemory(b.size, 0)
}

func (b *body) read(w http.ResponseWriter, r *http.Request, limit int64, begin func(head []byte) hash.Hash) error {
	if !b.takeMemory(headerBytes(r), 0) {
		return errNoRoom
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.ContentLength > limit {
		return errTooLarge
	}
	control := http.NewResponseController(w)
	patient := &patientReader{control: control, from: r.Body, ctx: r.Context(), idle: b.spool.idle, began: time.Now()}
	from := io.LimitReader(patient, limit+1)
	// A connection that has no deadlines (HTTP/2, tests) bounds reads in its own way.
	defer control.SetReadDeadline(time.Time{})
	defer context.AfterFunc(r.Context(), patient.stop)()

	if n := r.ContentLength; 0 < n && n < firstStep && b.takeMemory(n, 0) {
		b.head = make([]byte, 0, n)
	}
	more, err := b.fill(from)
	if err == nil && more {
		err = b.spill(from, begin)
	}
	if err == nil && b.size > limit {
		err = errTooLarge
	}
	return err
}

// fill reads into memory, and reports whether the rest does not fit there.
func (b *body) fill(from io.Reader) (more bool, err error) {
	for err == nil {
		if len(b.head) == cap(b.head) && !b.grow() {
			return true, nil
		}
		var n int
		n, err = from.Read(b.head[len(b.head):cap(b.head)])
		b.head = b.head[:len(b.head)+n]
	}
	b.size = int64(len(b.head))
	if err == io.EOF {
		err = nil
	}
	return false, err
}

// grow makes room for bytes that arrive. A Content-Length alone takes no room.
func (b *body) grow() bool {
	size := min(max(2*cap(b.head), firstStep), bodyInMemory)
	spare := b.spool.memory.size / 8
	if size <= beginning {
		spare = 0
	}
	if size == cap(b.head) || !b.takeMemory(int64(size-cap(b.head)), spare) {
		return false
	}
	b.head = append(make([]byte, 0, size), b.head...)
	return true
}

func (b *body) takeMemory(n, spare int64) bool {
	ok := b.spool.memory.take(n, spare)
	if ok {
		b.memory += n
	}
	return ok
}

// spill writes the body to a file, with the rest of it.
func (b *body) spill(rest io.Reader, begin func(head []byte) hash.Hash) (err error) {
	if b.file, b.path, err = b.spool.create(); err != nil {
		return fmt.Errorf("%w: %w", errNotKept, err)
	}
	if _, err = (diskWriter{b}).Write(b.head); err != nil {
		return err
	}
	to := io.Writer(diskWriter{b})
	if begin != nil {
		b.sum = begin(b.head)
		to = io.MultiWriter(to, b.sum)
	}
	_, err = io.Copy(to, rest)
	return err
}

// A diskWriter writes a body to its file. It hides the file from io.Copy, which would
// bypass Write and mix errors of the disk with those of the client.
type diskWriter struct{ body *body }

func (w diskWriter) Write(p []byte) (int, error) {
	b := w.body
	if !b.spool.disk.take(int64(len(p)), 0) {
		return 0, errNoRoom
	}
	b.disk += int64(len(p))
	n, err := b.file.Write(p)
	b.size += int64(n)
	if err != nil {
		err = fmt.Errorf("%w: %w", errNotKept, err)
	}
	return n, err
}

// open returns a reader of the body from its beginning. For an empty body that is
// http.NoBody, so that net/http knows that there is none.
func (b *body) open() io.ReadCloser {
	switch {
	case b.size == 0:
		return http.NoBody
	case b.isSmall():
		return io.NopCloser(bytes.NewReader(b.head))
	}
	b.users.Add(1)
	if b.file == nil {
		return &bodyReader{Reader: bytes.NewReader(b.head), body: b}
	}
	return &bodyReader{Reader: io.NewSectionReader(b.file, 0, b.size), body: b}
}

// isSmall reports whether net/http can write the body together with the header. It does
// so if the type of the reader shows that reading never waits. Such a body is not
// counted as used until net/http has let go of it.
func (b *body) isSmall() bool { return b.file == nil && 0 < b.size && b.size <= beginning/2 }

func (b *body) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	if b.file != nil {
		b.file.Close()
	}
	if b.path != "" {
		os.Remove(b.path)
	}
	b.spool.memory.give(b.memory)
	b.spool.disk.give(b.disk)
}

type bodyReader struct {
	io.Reader
	body   *body
	closed atomic.Bool
}

func (r *bodyReader) Close() error {
	if !r.closed.Swap(true) {
		r.body.release()
	}
	return nil
}

// A patientReader sets a new deadline before each read, until ctx ends; one that was set
// just before stays. A body whose client sends a byte from time to time ends, too.
type patientReader struct {
	control *http.ResponseController
	from    io.Reader
	ctx     context.Context
	idle    time.Duration // how long a client may send nothing
	began   time.Time
	got     int64
	set     time.Time // when the deadline was set
}

// justBefore is how much too early a deadline may be.
const justBefore = 10 * time.Millisecond

func (p *patientReader) Read(buf []byte) (int, error) {
	if now := time.Now(); now.Sub(p.set) > justBefore {
		p.set = now
		p.control.SetReadDeadline(p.deadline(now))
		if p.ctx.Err() != nil {
			p.stop() // ctx ended before the deadline was set
		}
	}
	n, err := p.from.Read(buf)
	p.got += int64(n)
	return n, err
}

func (p *patientReader) deadline(now time.Time) time.Time {
	silent := now.Add(p.idle)
	if last := p.began.Add(bodyTime + time.Duration(p.got)*time.Second/bodyRate); last.Before(silent) {
		return last
	}
	return silent
}

func (p *patientReader) stop() { p.control.SetReadDeadline(time.Now()) }
