package b24sim

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// answer is what the caller gets.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	repeat      int // not 0: the length of a body that repeats body
	end         ending
}

// ending is how an answer ends.
type ending int

const (
	endWhole ending = iota
	endCut          // the connection closes in the middle of the body
	endReset        // the connection is reset and nothing is sent
)

const (
	typeJSON = "application/json; charset=utf-8"
	typeXML  = "text/xml; charset=utf-8"
	typeHTML = "text/html; charset=utf-8"
)

// jsonOrXML makes an answer in the form that the address asks for.
func (x *exchange) jsonOrXML(status int, body *array) answer {
	if x.addr.xml {
		return answer{status: status, contentType: typeXML, body: appendXML(nil, "response", body)}
	}
	b, err := appendJSON(nil, body)
	if err != nil { // only a json.Number that is not a number causes this
		b = []byte(`{"error":"INTERNAL_SERVER_ERROR","error_description":"Internal server error"}`)
		status = http.StatusInternalServerError
	}
	return answer{status: status, contentType: typeJSON, body: b}
}

func (x *exchange) errorAnswer(f *failure) answer {
	f = f.forVersion(x.addr.version)
	return x.jsonOrXML(f.status, f.body())
}

// send writes a. It logs the status first, so that a caller who has the answer
// finds it in the log.
func (x *exchange) send(w http.ResponseWriter, a answer) {
	var done Call
	x.p.update(x.call, func(c *Call) {
		if a.end != endReset {
			c.Status = a.status
		}
		done = *c
	})
	if x.config.Log != nil {
		x.config.Log.Info(done.String())
	}
	if a.end == endReset {
		reset(w)
		return
	}
	header := w.Header()
	maps.Copy(header, a.header)
	header.Set("Content-Type", a.contentType)
	length := a.length()
	header.Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(a.status)
	if a.end == endWhole {
		a.write(w, length)
		return
	}
	a.write(w, length/2)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// length is the length of the whole body.
func (a answer) length() int {
	if a.repeat > 0 {
		return a.repeat
	}
	return len(a.body)
}

// write sends the first n bytes of the body.
func (a answer) write(w io.Writer, n int) {
	for n > 0 {
		part := a.body[:min(n, len(a.body))]
		if _, err := w.Write(part); err != nil {
			return // the caller has left
		}
		n -= len(part)
	}
}

// reset ends a connection without an answer: a TCP connection with a reset, any
// other (HTTP/2, a recorder) as net/http aborts it.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // closing then sends RST
	}
	_ = raw.Close()
}

// spoil turns the answer a into that of the fault.
func (x *exchange) spoil(a answer) answer {
	f := x.fault
	if err := f.failure(x.addr.version); err != nil {
		if err.code == codeQueryLimit {
			x.p.refuse(x.call)
		}
		return x.jsonOrXML(err.status, err.body())
	}
	status := f.status()
	switch f.Kind {
	case "html":
		return nginxPage(status)
	case "site-closed":
		return answer{status: status, contentType: typeHTML, body: []byte(siteClosed)}
	case "login-page":
		return answer{status: status, contentType: typeHTML, body: []byte(loginPage)}
	case "php-fatal":
		return answer{status: status, contentType: typeHTML, body: []byte(phpFatal)}
	case "empty":
		return answer{status: status, contentType: typeHTML}
	case "bad-utf8":
		return x.errorAnswer(fail("WRONG_ENCODING"))
	case "truncated":
		a.body, a.repeat = a.body[:len(a.body)/2], a.repeat/2
	case "cut":
		a.end = endCut
	case "reset-before", "reset-after":
		a.end = endReset
	case "bom":
		if a.repeat == 0 { // not a file
			a.body = append([]byte("\ufeff"), a.body...)
		}
	case "gzip":
		if f.Value == "always" || strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip") {
			a = compress(a)
		}
	}
	if status != 0 {
		a.status = status
	}
	return a
}

func compress(a answer) answer {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	a.write(z, a.length())
	_ = z.Close() // a bytes.Buffer does not fail
	a.body, a.repeat = b.Bytes(), 0
	if a.header == nil {
		a.header = make(http.Header)
	}
	a.header.Set("Content-Encoding", "gzip")
	return a
}

// nginxPage is a stock page of the web server in front of the portal.
func nginxPage(status int) answer {
	title := fmt.Sprintf("%d %s", status, nginxText(status))
	page := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title +
		"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return answer{status: status, contentType: "text/html", body: []byte(page)}
}

// nginxText is nginx's own wording of a status where it differs from Go's.
func nginxText(status int) string {
	switch status {
	case http.StatusServiceUnavailable:
		return "Service Temporarily Unavailable"
	case http.StatusGatewayTimeout:
		return "Gateway Time-out"
	}
	return http.StatusText(status)
}

const (
	siteClosed = "<!-- -->\n<br>\n<table width=\"35%\"><tr><td align=\"center\">" +
		"<font color=\"#FF0000\"><b>Site under construction.</b></font><br>Please try again later.</td></tr></table>\n<!-- -->"
	loginPage = "<!DOCTYPE html>\n<html><head><title>Authorization</title></head>" +
		"<body><form name=\"form_auth\" method=\"post\"><input name=\"USER_LOGIN\"></form></body></html>\n"
	phpFatal = "A error occurred during execution of this script. " +
		"You can turn on extended error reporting in .settings.php file.\n"
)
