package proxy

import (
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// memoryTotal bounds the memory for the bodies and headers of the calls under way. An
// eighth of it is left to the headers, which cannot be written to disk.
const memoryTotal = 256 << 20

// A spool is the room for the requests under way: memory, and disk for the bodies that
// do not fit there.
type spool struct {
	memory, disk room
	create       func() (file *os.File, path string, err error)
	idle         time.Duration // how long a client may send nothing of a body
}

func newSpool(disk int64, idle time.Duration) *spool {
	return &spool{memory: room{size: memoryTotal}, disk: room{size: disk}, create: createUnlinked, idle: idle}
}

// A room is a number of bytes that can be taken and given back.
type room struct {
	used atomic.Int64
	size int64
}

// take takes n bytes if spare more bytes remain free, and reports whether it did.
func (r *room) take(n, spare int64) bool {
	if r.used.Add(n) <= r.size-spare {
		return true
	}
	r.used.Add(-n)
	return false
}

func (r *room) give(n int64) { r.used.Add(-n) }

// createUnlinked creates a file that disappears with the process, however that ends:
// the file has no name. Where an open file cannot be removed, as on Windows, it
// returns the path.
func createUnlinked() (file *os.File, path string, err error) {
	file, err = os.CreateTemp("", "b24proxy-body-")
	if err != nil {
		return nil, "", err
	}
	if os.Remove(file.Name()) != nil {
		path = file.Name()
	}
	return file, path, nil
}

// headerBytes estimates the memory that the headers of a waiting call take: what
// net/http read, and the copies of the list that sending it makes.
func headerBytes(r *http.Request) int64 {
	const line = 320 // of each header in these lists, measured
	n := 2 * len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			n += line + 2*(len(name)+len(value))
		}
	}
	return int64(n)
}
