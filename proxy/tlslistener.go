package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Certificates returns the certificate with which the proxy answers under the name of
// a host.
type Certificates interface {
	Certificate(host string) (*tls.Certificate, error)
}

// handshakeTime bounds how long a client may take to begin TLS.
const handshakeTime = 10 * time.Second

// A tlsListener hands the connections on which clients speak TLS to an http.Server.
// Which portal a call is for is decided by its address, as it is without TLS. The
// name in the client's greeting (SNI) only chooses the certificate.
//
// The handshake is made here and not by the server, because the head of the first
// request must be recorded as it is after decryption (framing.go). Until its end a
// connection belongs to the listener, then to the server.
type tlsListener struct {
	config *tls.Config
	log    *slog.Logger
	ca     Certificates // for names that own does not cover; may be nil
	own    Certificates // the operator's own certificate; may be nil

	refusal func(*failure) []byte

	ready  chan net.Conn
	closed context.Context
	close  context.CancelFunc
	accept net.Listener // of those who need no tunnel; may be nil
}

// newTLSListener returns a listener whose connections are those for which handshake is
// called, by listen or in a tunnel. A client who does not speak TLS reads the refusal.
func newTLSListener(c *Config, refusal func(*failure) []byte) *tlsListener {
	l := &tlsListener{log: c.Log, ca: c.CA, own: c.Certificate, refusal: refusal, ready: make(chan net.Conn)}
	l.closed, l.close = context.WithCancel(context.Background())
	l.config = &tls.Config{
		GetCertificate: l.certificate,
		NextProtos:     []string{"h2", "http/1.1", "http/1.0"}, // curl --http1.0 offers the last alone
		MinVersion:     tls.VersionTLS12,
	}
	return l
}

// listen begins a handshake with every client that connects, until the listener is
// closed. Without a free file descriptor nobody can connect for a while.
func (l *tlsListener) listen() {
	for l.closed.Err() == nil {
		conn, err := l.accept.Accept()
		if err != nil {
			l.log.Debug("no client can connect", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		go l.handshake(conn)
	}
}

// handshake begins TLS with a client, and hands the connection on.
func (l *tlsListener) handshake(conn net.Conn) {
	ctx, cancel := context.WithTimeout(l.closed, handshakeTime)
	defer cancel()
	secured := tls.Server(conn, l.config)
	if err := secured.HandshakeContext(ctx); err != nil {
		l.failed(conn, err)
		return
	}
	var handed net.Conn = secured
	if secured.ConnectionState().NegotiatedProtocol != "h2" { // HTTP/2 frames its requests without doubt
		handed = &tlsConn{headConn{Conn: secured}, secured}
	}
	select {
	case l.ready <- handed:
	case <-l.closed.Done():
		conn.Close()
	}
}

// failed ends a connection without TLS. A client that speaks HTTP is answered.
func (l *tlsListener) failed(conn net.Conn, err error) {
	defer conn.Close()
	plain, isRecord := errors.AsType[tls.RecordHeaderError](err)
	alert, isAlert := errors.AsType[*net.OpError](err)
	switch {
	case isRecord && plain.Conn != nil && isHTTP(plain.RecordHeader):
		conn.SetDeadline(time.Now().Add(restIdle))
		conn.Write(l.refusal(newFailure(plainToTLS)))
		io.Copy(io.Discard, conn) // else closing would drop the answer
	case isAlert && alert.Op == "remote error":
		l.log.Info("a client refused the certificate; does it trust the CA that b24proxy -ca prints?", "client", conn.RemoteAddr(), "error", alert.Err)
	default:
		l.log.Debug("no TLS with a client", "client", conn.RemoteAddr(), "error", cause(err))
	}
}

// isHTTP reports whether the first bytes of a client are those of a request.
func isHTTP(first [5]byte) bool {
	for _, b := range first[:3] {
		if b < 'A' || b > 'Z' {
			return false
		}
	}
	return true
}

// certificate chooses the certificate for a client, which need not send a name. A name
// that nobody signs for gets one of the proxy's own, so that the client can say what
// is wrong with it.
func (l *tlsListener) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	own, asked := ownHost(hello.Conn.LocalAddr()), hello.ServerName
	if t, ok := hello.Conn.(*tunnelConn); ok {
		asked = cmp.Or(asked, t.host)
	}
	if l.own != nil {
		cert, err := l.own.Certificate(own)
		if err != nil || l.ca == nil || asked == "" || cert.Leaf.VerifyHostname(asked) == nil {
			return cert, err
		}
	}
	if l.ca == nil {
		return nil, errors.New("there is no CA")
	}
	if cert, err := l.ca.Certificate(cmp.Or(asked, own)); err == nil {
		return cert, nil
	}
	return l.ca.Certificate("localhost")
}

// ownHost is the name of the proxy for a client that connects to an address.
func ownHost(local net.Addr) string {
	if to, err := netip.ParseAddrPort(local.String()); err == nil && to.Addr().Unmap().IsLoopback() {
		return to.Addr().Unmap().String()
	}
	return "localhost"
}

// Accept is for http.Server.
func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.closed.Done():
		return nil, http.ErrServerClosed
	}
}

// Close ends the handshakes that are under way, too.
func (l *tlsListener) Close() error {
	l.close()
	if l.accept == nil {
		return nil
	}
	return l.accept.Close()
}

// Addr is for http.Server.
func (l *tlsListener) Addr() net.Addr {
	if l.accept == nil {
		return &net.TCPAddr{}
	}
	return l.accept.Addr()
}

// A tlsConn speaks HTTP/1 over TLS.
type tlsConn struct {
	headConn
	secured *tls.Conn
}

// ConnectionState lets net/http set the field TLS of requests.
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.secured.ConnectionState() }
