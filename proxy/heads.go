package proxy

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// A head is the first line and the header of a request, as the client wrote it.
type head struct {
	line                   string // the first one
	encoded, sized, folded bool   // it has Transfer-Encoding, Content-Length, a line that goes on
}

// isOf reports whether a request begins with the line.
func (h *head) isOf(r *http.Request) bool {
	rest := h.line
	for _, part := range [...]string{r.Method, " ", r.RequestURI, " ", r.Proto} {
		var found bool
		if rest, found = strings.CutPrefix(rest, part); !found {
			return false
		}
	}
	return rest == ""
}

// heads are the heads of the requests on a connection. They are found in the bytes
// that net/http reads, which may be those of several requests at once.
type heads struct {
	mu       sync.Mutex
	complete []*head // not taken yet
	part     []byte  // of the next one
	skip     int64   // bytes of a body before it
	blanks   int     // line ends before it that net/http skips
	isOver   bool    // no request follows, or where it begins is not clear
}

// take returns the head of the request that a handler got. The result is empty, and
// so that of no request, if it was not found.
func (h *heads) take() *head {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.complete) == 0 {
		return new(head)
	}
	first := h.complete[0]
	h.complete = h.complete[1:]
	return first
}

// record finds heads in the bytes that come next.
func (h *heads) record(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 && !h.isOver {
		if h.skip > 0 {
			n := min(h.skip, int64(len(p)))
			h.skip -= n
			p = p[n:]
			continue
		}
		p = h.recordHead(p)
	}
}

// endOfHead returns where what follows an empty line begins, -1 if there is none yet.
func endOfHead(b []byte) (end int) {
	for {
		line := bytes.IndexByte(b[end:], '\n')
		if line < 0 {
			return -1
		}
		end += line + 1
		switch next := b[end:]; {
		case bytes.HasPrefix(next, []byte("\n")):
			return end + 1
		case bytes.HasPrefix(next, []byte("\r\n")):
			return end + 2
		}
	}
}

// recordHead adds to the head, and returns the bytes behind it.
func (h *heads) recordHead(p []byte) (rest []byte) {
	if len(h.part) == 0 && h.blanks > 0 && (p[0] == '\r' || p[0] == '\n') {
		h.blanks--
		return p[1:]
	}
	if len(h.part) == 0 { // mostly all of it comes at once
		if end := endOfHead(p); end >= 0 {
			h.finish(p[:end])
			return p[end:]
		}
	}
	seen := max(0, len(h.part)-len("\n\r"))
	h.part = append(h.part, p...)
	end := endOfHead(h.part[seen:])
	if end < 0 {
		h.isOver = len(h.part) > 2*headBytes // net/http refuses it
		return nil
	}
	whole, rest := h.part[:seen+end], h.part[seen+end:]
	h.part = nil
	h.finish(whole)
	return rest
}

// finish keeps a complete head, and finds out where the next one begins.
func (h *heads) finish(whole []byte) {
	line, headers, _ := bytes.Cut(whole, []byte("\n"))
	found := &head{line: strings.TrimSuffix(string(line), "\r")}
	sizes := found.read(headers)
	h.complete = append(h.complete, found)
	method, _, _ := strings.Cut(found.line, " ")
	h.isOver = found.encoded || found.folded || !strings.HasSuffix(found.line, " HTTP/1.1") || method == http.MethodConnect
	for _, size := range sizes {
		n, err := strconv.ParseInt(size, 10, 64)
		h.skip = n
		h.isOver = h.isOver || err != nil || n < 0
	}
	h.blanks = 0
	if method == http.MethodPost { // net/http tolerates line ends after it
		h.blanks = 4
	}
}

// read finds out what the headers say about the end of the request, and returns the
// values of Content-Length.
func (h *head) read(headers []byte) (sizes []string) {
	for line := range bytes.SplitSeq(headers, []byte("\n")) {
		h.folded = h.folded || len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		name, value, isHeader := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		switch {
		case !isHeader:
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.encoded = true
		case bytes.EqualFold(name, []byte("Content-Length")):
			value, _, _ = bytes.Cut(value, []byte("\r"))
			h.sized = true
			sizes = append(sizes, strings.TrimSpace(string(value)))
		}
	}
	return sizes
}
