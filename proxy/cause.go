package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
)

// cause says in a few words what an error of the standard library means. The words
// contain nothing that came from outside: net/http quotes what it cannot read, and
// other errors contain addresses.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		return viaOutbound + cause(op.Err)
	}
	for _, c := range causes {
		if words := c(err); words != "" {
			return words
		}
	}
	return "connection failed"
}

const viaOutbound = "outbound proxy (B24PROXY_OUTBOUND_PROXY): "

// causes are tried in this order: our own errors first, then the most specific ones.
var causes = []func(error) string{ourCause, nameCause, certificateCause, systemCause, protocolCause, timeoutCause}

func ourCause(err error) string {
	for _, ours := range []error{errRepeat, errCallerLeft, errSlotExpired, errStopped, errTooLarge, errNoRoom, errNotPublic} {
		if errors.Is(err, ours) {
			return ours.Error()
		}
	}
	if errors.Is(err, errNotKept) {
		if why := syscall.Errno(0); errors.As(err, &why) {
			return errNotKept.Error() + ": " + why.Error()
		}
		return errNotKept.Error()
	}
	if outbound, ok := errors.AsType[outboundRefusal](err); ok {
		return outbound.Error()
	}
	if silent, ok := errors.AsType[silentFor](err); ok {
		return silent.Error()
	}
	return ""
}

func nameCause(err error) string {
	var lookup *net.DNSError
	switch {
	case !errors.As(err, &lookup):
		return ""
	case lookup.IsNotFound:
		return "name not found"
	case lookup.IsTimeout:
		return "name lookup timed out"
	}
	return "name lookup failed"
}

func certificateCause(err error) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		other     *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &authority):
		return "certificate not valid: unknown authority; add it to B24PROXY_UPSTREAM_CA_FILE"
	case errors.As(err, &name):
		return "certificate not valid: issued for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate not valid: expired or not yet valid"
	case errors.As(err, &invalid), errors.As(err, &other):
		return "certificate not valid"
	}
	return ""
}

func systemCause(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	return ""
}

// protocolCause names errors of a peer that does not speak HTTP or TLS. Some of them
// have no type in net/http, only a text.
func protocolCause(err error) string {
	var (
		alert  tls.AlertError
		record tls.RecordHeaderError
		header textproto.ProtocolError
	)
	switch {
	case errors.As(err, &alert):
		return "TLS handshake refused"
	case errors.As(err, &record), strings.HasPrefix(err.Error(), "http: server gave HTTP response to HTTPS client"):
		return "no TLS on that port"
	case neverProcessed(err):
		return "each connection was closed before the request was read"
	case strings.HasPrefix(err.Error(), "http: server closed idle connection"), strings.HasPrefix(err.Error(), "http2: client connection lost"),
		strings.HasPrefix(err.Error(), "http2: server sent GOAWAY and closed the connection"):
		return "connection closed"
	case errors.As(err, &header), strings.Contains(err.Error(), "HTTP/1.x transport connection broken: "):
		return "not a valid HTTP answer"
	}
	return ""
}

func timeoutCause(err error) string {
	var timed net.Error
	if errors.As(err, &timed) && timed.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
		return "timed out"
	}
	return ""
}

// place says where a connection failed, or returns "" if that is not known. It is
// only for the log.
func place(err error) string {
	if lookup, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Sprintf("lookup of %s on %s", lookup.Name, lookup.Server)
	}
	for {
		var op *net.OpError
		if !errors.As(err, &op) {
			return ""
		}
		if op.Addr != nil {
			return op.Op + " " + op.Addr.String()
		}
		err = op.Err
	}
}
