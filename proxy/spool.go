package proxy

import (
	"net/http"
	"os"
	"sync/atomic"
)

// memoryTotal is what the calls under way may hold in memory: their bodies and
// their headers. Bodies leave an eighth to headers, which cannot go elsewhere.
const memoryTotal = 256 << 20

// A spool has the room for the requests under way: memory, and for the bodies
// that do not fit there, disk.
type spool struct {
	memory, disk room
	create       func() (file *os.File, path string, err error)
}

func newSpool(disk int64) *spool {
	return &spool{memory: room{size: memoryTotal}, disk: room{size: disk}, create: createUnlinked}
}

// A room is a number of bytes, which are taken and given back.
type room struct {
	used atomic.Int64
	size int64
}

// take takes n bytes if spare others are free then.
func (r *room) take(n, spare int64) bool {
	if r.used.Add(n) <= r.size-spare {
		return true
	}
	r.used.Add(-n)
	return false
}

func (r *room) give(n int64) { r.used.Add(-n) }

// createUnlinked makes a file that ends with the process, whatever ends it. Its
// path is "" where it has no name any more; only on Unix can an open file lose
// its name.
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

// headerBytes is about what the headers of a waiting call hold in memory: what
// net/http read, and the copies of their list that are made to send it.
func headerBytes(r *http.Request) int64 {
	const line = 320 // for its places in the lists, measured
	n := 2 * len(r.RequestURI)
	for name, values := range r.Header {
		for _, value := range values {
			n += line + 2*(len(name)+len(value))
		}
	}
	return int64(n)
}
