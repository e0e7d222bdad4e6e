package proxy

import (
	"bytes"
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
// is sent again. Small ones stay in memory, larger ones lie in a file.
type body struct {
	head  []byte   // all of it, or of a file its beginning
	file  *os.File // nil: head is all
	size  int64
	users atomic.Int32 // the exchange and the readers; the last removes the file
}

const (
	bodyInMemory = 256 << 10
	bodyIdle     = time.Minute // a client that sends nothing for so long is given up
)

var (
	errTooLarge = errors.New("request body too large")
	errSpool    = errors.New("request body cannot be kept") // for want of a place
)

// readBody reads a request's body to its end. It fails with errTooLarge, or
// with what kept it from reading.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	b := &body{}
	b.users.Add(1)
	if r.Body == nil || r.Body == http.NoBody {
		return b, nil
	}
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	control := http.NewResponseController(w)
	from := io.LimitReader(&patientReader{control, r.Body}, limit+1)
	// A listener without deadlines (HTTP/2, tests) bounds reading otherwise.
	defer control.SetReadDeadline(time.Time{})

	head := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 512), bodyInMemory)+bytes.MinRead))
	n, err := head.ReadFrom(io.LimitReader(from, bodyInMemory))
	b.head, b.size = head.Bytes(), n
	if err == nil && n == bodyInMemory {
		err = b.spool(from)
	}
	if err == nil && b.size > limit {
		err = errTooLarge
	}
	if err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// spool moves on to a file.
func (b *body) spool(rest io.Reader) (err error) {
	b.file, err = os.CreateTemp("", "b24proxy-body-")
	if err == nil {
		_, err = b.file.Write(b.head)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	n, err := io.Copy(spoolWriter{b.file}, rest)
	b.size += n
	return err
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
	if b.users.Add(-1) == 0 && b.file != nil {
		b.file.Close()
		os.Remove(b.file.Name())
	}
}

// A spoolWriter tells failures to write from those to read.
type spoolWriter struct{ *os.File }

func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.File.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errSpool, err)
	}
	return n, err
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

// A patientReader gives each read a deadline of its own.
type patientReader struct {
	control *http.ResponseController
	from    io.Reader
}

func (p *patientReader) Read(buf []byte) (int, error) {
	p.control.SetReadDeadline(time.Now().Add(bodyIdle))
	return p.from.Read(buf)
}
