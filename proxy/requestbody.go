package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// A request body is read before the wait for a slot, since net/http notices
// that a caller has gone only once it has the body, and since a refused call
// is sent again. Small ones stay in memory, larger ones lie in a file. What a
// call holds of the spool, its headers too, is given back by its last user.
type body struct {
	head  []byte   // all of it, or of a file its beginning
	file  *os.File // nil: head is all
	path  string   // of the file, "" where it is removed already
	size  int64
	users atomic.Int32 // the exchange and the readers

	spool        *spool
	memory, disk int64 // taken of it
}

const (
	bodyInMemory = 256 << 10
	bodyIdle     = time.Minute // a client that sends nothing for so long is given up

	firstStep = 512     // that a body takes of the memory when it begins
	beginning = 4 << 10 // of a body that may use what is left to headers: it names the caller
)

var (
	errTooLarge = errors.New("request body too large")
	errNotKept  = errors.New("the proxy cannot keep the request")
	errNoRoom   = fmt.Errorf("%w: others take all the room in memory and on disk (B24PROXY_SPOOL_LIMIT)", errNotKept)
)

// read takes a request's headers into account and reads its body to the end.
// It fails with errTooLarge, with errNotKept, or with what kept it from reading.
func (s *spool) read(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	b := &body{spool: s}
	b.users.Add(1)
	if err := b.read(w, r, limit); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

func (b *body) read(w http.ResponseWriter, r *http.Request, limit int64) error {
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
	patient := &patientReader{control, r.Body, r.Context()}
	from := io.LimitReader(patient, limit+1)
	// A listener without deadlines (HTTP/2, tests) bounds reading otherwise.
	defer control.SetReadDeadline(time.Time{})
	defer context.AfterFunc(r.Context(), patient.stop)()

	more, err := b.fill(from)
	if err == nil && more {
		err = b.spill(from)
	}
	if err == nil && b.size > limit {
		err = errTooLarge
	}
	return err
}

// fill reads into memory, and reports whether the rest has to go elsewhere.
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

// grow makes room for what arrives; what is only promised takes none.
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

// spill moves on to a file.
func (b *body) spill(rest io.Reader) (err error) {
	if b.file, b.path, err = b.spool.create(); err != nil {
		return fmt.Errorf("%w: %w", errNotKept, err)
	}
	if _, err = (diskWriter{b}).Write(b.head); err != nil {
		return err
	}
	_, err = io.Copy(diskWriter{b}, rest)
	return err
}

// A diskWriter writes a body to its file, and to nowhere else: io.Copy finds no
// way round it. So its errors are not taken for the client's.
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

// open reads the body from its beginning. An empty one is http.NoBody, so that
// net/http sends a request without a body as one.
func (b *body) open() io.ReadCloser {
	if b.size == 0 {
		return http.NoBody
	}
	b.users.Add(1)
	if b.file == nil {
		return &bodyReader{Reader: bytes.NewReader(b.head), body: b}
	}
	return &bodyReader{Reader: io.NewSectionReader(b.file, 0, b.size), body: b}
}

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

// A patientReader gives each read a deadline of its own, until ctx ends.
type patientReader struct {
	control *http.ResponseController
	from    io.Reader
	ctx     context.Context
}

func (p *patientReader) Read(buf []byte) (int, error) {
	p.control.SetReadDeadline(time.Now().Add(bodyIdle))
	if p.ctx.Err() != nil {
		p.stop() // it came before the deadline was set
	}
	return p.from.Read(buf)
}

func (p *patientReader) stop() { p.control.SetReadDeadline(time.Now()) }
