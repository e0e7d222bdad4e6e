package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"

	"b24proxy/limiter"
)

// maxSendings bounds how often one attempt is written to a connection, if the portal
// closes each before it reads the request.
const maxSendings = 5

// A connTrace watches the RoundTrips of an attempt, one after the other, until one
// gets an answer. It sees how far the request gets, and decides whether net/http may
// write it to another connection. By itself net/http repeats a request if its method
// or a header makes that look harmless; here a request is sent again only if it
// surely was not processed.
type connTrace struct {
	caller context.Context
	stop   context.CancelCauseFunc // ends the RoundTrip
	clock  *silenceTimer
	slot   *limiter.Slot // of the attempt; nil: it need not be looked at

	times   int           // how often the request was given a connection
	conn    *countingConn // the last connection, nil if it is not known
	written int64         // bytes written to conn before the request
	tls     bool
	http2   bool
	empty   bool        // the request has no body
	began   atomic.Bool // writing its header has begun
}

var (
	// errRepeat ends a RoundTrip that would send a request again that may have run.
	errRepeat = errors.New("the connection broke after the request had been sent")
	// errOtherProtocol ends a RoundTrip whose request is made for another version of
	// HTTP.
	errOtherProtocol = errors.New("the connection speaks another version of HTTP")
	// errPeerClosed ends a RoundTrip on a kept connection that the portal has closed.
	errPeerClosed = errors.New("the portal had closed the connection")
	// errSlotExpired ends a RoundTrip before anything is sent.
	errSlotExpired = errors.New("making the connection took too long for the slot of the call")
	// errCallerLeft ends a RoundTrip before anything is sent.
	errCallerLeft = errors.New("the caller left while the connection was made")
)

// request returns a request to an address that sends the body from its beginning and is
// watched by t. For HTTP/1, an empty body is http.NoBody. Over HTTP/2, net/http repeats a request
// with http.NoBody by itself, even after a PROTOCOL_ERROR, and does not say why; so
// there the empty body is one that net/http cannot rewind.
func (t *connTrace) request(ctx context.Context, req *http.Request, to *url.URL, body *body) *http.Request {
	trace := &httptrace.ClientTrace{
		GotConn:          t.gotConn,
		WroteHeaderField: func(string, []string) { t.began.Store(true) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { t.clock.restart() },
	}
	out := req.WithContext(httptrace.WithClientTrace(ctx, trace)) // nobody changes its header any more
	out.URL, out.Host = to, to.Host
	out.ContentLength, out.TransferEncoding = body.size, nil
	out.Body = body.open()
	t.empty = out.Body == http.NoBody
	t.began.Store(false)
	if !body.isSmall() && (!t.empty || t.http2) {
		out.Body = &watchedBody{out.Body, t.clock}
	}
	return out
}

// gotConn lets the request be written to a connection, or ends the RoundTrip before.
func (t *connTrace) gotConn(info httptrace.GotConnInfo) {
	conn, isTLS, isHTTP2 := under(info)
	switch {
	case t.caller.Err() != nil:
		t.refuse(info, errCallerLeft)
	case t.slot.Expired():
		t.refuse(info, errSlotExpired)
	case t.times > 0 && t.sent():
		t.refuse(info, errRepeat)
	case info.WasIdle && !isHTTP2 && conn != nil && peerClosed(conn):
		t.refuse(info, errPeerClosed)
		return // uncounted: there are only so many kept connections
	case t.empty && t.http2 != isHTTP2:
		t.refuse(info, errOtherProtocol)
	default:
		t.clock.restart()
	}
	t.times++
	t.conn, t.tls, t.http2 = conn, isTLS, isHTTP2
	t.began.Store(false)
	if t.conn != nil {
		t.written = t.conn.written.Load()
	}
}

// refuse keeps net/http from writing the request. HTTP/2 checks the context before it
// writes. HTTP/1 does not, so its connection is closed.
func (t *connTrace) refuse(info httptrace.GotConnInfo, cause error) {
	t.stop(cause)
	if _, _, isHTTP2 := under(info); !isHTTP2 {
		info.Conn.Close()
	}
}

// under returns what is below the TLS of a connection.
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

// closeNotify is the length of the longest TLS record that only closes a connection
// (31 bytes with AES-GCM in TLS 1.2). No request fits into it.
const closeNotify = 31

// sent reports whether a part of the request may have reached the portal over the
// last connection.
func (t *connTrace) sent() bool {
	switch {
	case !t.began.Load():
		return false
	case t.http2 || t.conn == nil:
		return true
	}
	written := t.conn.written.Load() - t.written
	return written > closeNotify || written > 0 && !t.tls
}

// lost reports whether the request may have been processed although its
// RoundTrip failed.
func (t *connTrace) lost(ctx context.Context, err error) bool {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errRepeat):
		return true
	case errors.Is(cause, errOtherProtocol), errors.Is(cause, errPeerClosed), errors.Is(cause, errCallerLeft), errors.Is(cause, errSlotExpired), t.times == 0:
		return false
	case t.http2 && cause != nil: // net/http does not wait for its writer
		return true
	}
	return t.sent() && !neverProcessed(err)
}

// again reports whether a request that was not lost is sent once more.
func (t *connTrace) again(ctx context.Context) bool {
	cause := context.Cause(ctx)
	switch {
	case t.caller.Err() != nil:
		return false
	case errors.Is(cause, errPeerClosed):
		return true
	}
	return 0 < t.times && t.times < maxSendings && (cause == nil || errors.Is(cause, errOtherProtocol))
}

// neverProcessed reports whether an HTTP/2 server said that it has not processed the
// request: its stream came after the last one of a GOAWAY, or was refused (RFC 9113,
// sections 6.8 and 8.7). net/http has no type for that, only a text.
func neverProcessed(err error) bool {
	text := err.Error()
	cannotRewind := strings.HasPrefix(text, "http2: Transport: cannot retry err")
	return cannotRewind && (strings.Contains(text, "GOAWAY") || strings.Contains(text, "REFUSED_STREAM")) ||
		strings.HasPrefix(text, "http2: Transport received GOAWAY from server")
}
