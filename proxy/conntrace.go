package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
)

// maxSendings bounds how often one attempt is written to a connection, when the
// portal closes each before it looks at the request.
const maxSendings = 5

// A connTrace watches one RoundTrip after the other, until one gets an answer: how
// far the request gets, and whether net/http may write it to another connection.
// net/http repeats a request by itself where it takes the method or a header to
// be harmless; here only what surely was not processed is sent again.
type connTrace struct {
	caller context.Context
	stop   context.CancelCauseFunc // ends the RoundTrip
	clock  *silenceTimer

	times   int           // the request was given a connection
	conn    *countingConn // the last one, nil where it is not known
	written int64         // to conn, before the request
	tls     bool
	http2   bool
	empty   bool        // the request has no body
	began   atomic.Bool // its header was begun
}

var (
	// errRepeat ends a RoundTrip that would send again what may have run.
	errRepeat = errors.New("the connection broke after the request had been sent")
	// errOtherProtocol ends a RoundTrip whose request has the form of another protocol.
	errOtherProtocol = errors.New("the connection speaks another version of HTTP")
	// errCallerLeft ends a RoundTrip before anything is sent.
	errCallerLeft = errors.New("the caller left while the connection was made")
)

// request makes net/http send the body from its beginning, under the eyes of s.
// That there is none is known to HTTP/1 by http.NoBody. net/http repeats such a
// request by itself over HTTP/2, for a PROTOCOL_ERROR too, and then does not say
// why; so there it gets an empty body, which net/http cannot rewind.
func (s *connTrace) request(out *http.Request, body *body) *http.Request {
	trace := &httptrace.ClientTrace{
		GotConn:          s.gotConn,
		WroteHeaderField: func(string, []string) { s.began.Store(true) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { s.clock.restart() },
	}
	req := out.WithContext(httptrace.WithClientTrace(out.Context(), trace))
	req.Body = body.open()
	s.empty = req.Body == http.NoBody
	s.began.Store(false)
	if !s.empty || s.http2 {
		req.Body = &watchedBody{req.Body, s.clock}
	}
	return req
}

// gotConn allows the request to be written to a connection, or ends the
// RoundTrip before that.
func (s *connTrace) gotConn(info httptrace.GotConnInfo) {
	conn, isTLS, isHTTP2 := under(info)
	switch {
	case s.caller.Err() != nil:
		s.refuse(info, errCallerLeft)
	case s.times > 0 && s.sent():
		s.refuse(info, errRepeat)
	case s.empty && s.http2 != isHTTP2:
		s.refuse(info, errOtherProtocol)
	default:
		s.clock.restart()
	}
	s.times++
	s.conn, s.tls, s.http2 = conn, isTLS, isHTTP2
	s.began.Store(false)
	if s.conn != nil {
		s.written = s.conn.written.Load()
	}
}

// refuse keeps net/http from writing the request. HTTP/2 looks at the context
// before it writes; HTTP/1 does not, so its connection is closed.
func (s *connTrace) refuse(info httptrace.GotConnInfo, cause error) {
	s.stop(cause)
	if _, _, isHTTP2 := under(info); !isHTTP2 {
		info.Conn.Close()
	}
}

// under finds what carries a connection.
func under(info httptrace.GotConnInfo) (conn *countingConn, isTLS, isHTTP2 bool) {
	outer := info.Conn
	for { // TLS within the TLS of an https proxy
		secure, ok := outer.(*tls.Conn)
		if !ok {
			break
		}
		isTLS = true
		isHTTP2 = isHTTP2 || secure.ConnectionState().NegotiatedProtocol == "h2"
		outer = secure.NetConn()
	}
	conn, _ = outer.(*countingConn)
	return conn, isTLS, isHTTP2
}

// closeNotify is the longest TLS record that says goodbye (31 bytes with
// AES-GCM in TLS 1.2). No request fits into it.
const closeNotify = 31

// sent reports whether a part of the request may have reached the portal, as far
// as the last connection shows it.
func (s *connTrace) sent() bool {
	switch {
	case !s.began.Load():
		return false
	case s.http2 || s.conn == nil:
		return true
	}
	written := s.conn.written.Load() - s.written
	return written > closeNotify || written > 0 && !s.tls
}

// lost reports whether the request may have been processed although its
// RoundTrip failed.
func (s *connTrace) lost(ctx context.Context, err error) bool {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errRepeat):
		return true
	case errors.Is(cause, errOtherProtocol), errors.Is(cause, errCallerLeft), s.times == 0:
		return false
	case s.http2 && cause != nil: // net/http does not wait for its writer
		return true
	}
	return s.sent() && !neverProcessed(err)
}

// again reports whether a request that was not lost is sent once more.
func (s *connTrace) again(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return s.caller.Err() == nil && 0 < s.times && s.times < maxSendings && (cause == nil || errors.Is(cause, errOtherProtocol))
}

// neverProcessed reports whether an HTTP/2 server said that it has not looked at
// the request: its stream came after the last one of a GOAWAY, or was refused
// (RFC 9113, sections 6.8 and 8.7). net/http says so in words alone.
func neverProcessed(err error) bool {
	text := err.Error()
	cannotRewind := strings.HasPrefix(text, "http2: Transport: cannot retry err")
	return cannotRewind && (strings.Contains(text, "GOAWAY") || strings.Contains(text, "REFUSED_STREAM")) ||
		strings.HasPrefix(text, "http2: Transport received GOAWAY from server")
}
