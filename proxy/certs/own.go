package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// lookEvery is how often at most the files of an Own are read again.
const lookEvery = time.Second

// Own is a certificate of the operator's own, in one file, with its key in another.
// When the files have changed, the next client gets the new certificate. As long as
// they do not fit together, clients get the old one. It is safe for concurrent use.
type Own struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	looked time.Time         // when the files were read last
	seen   [sha256.Size]byte // what was in them then
	cert   *tls.Certificate
}

// OpenOwn reads a certificate and its key. The certificates that clients need to
// verify it follow it in its file.
func OpenOwn(certFile, keyFile string, log *slog.Logger) (*Own, error) {
	o := &Own{certFile: certFile, keyFile: keyFile, log: log}
	if err := o.read(); err != nil {
		return nil, err
	}
	return o, nil
}

// Certificate returns the certificate, whatever the host.
func (o *Own) Certificate(string) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.looked) >= lookEvery {
		if err := o.read(); err != nil {
			o.log.Error("the changed certificate cannot be used; clients get the one before", "error", err)
		}
	}
	return o.cert, nil
}

// read takes over what is in the files. It fails once for each content that cannot
// be used.
func (o *Own) read() error {
	o.looked = time.Now()
	cert, errCert := os.ReadFile(o.certFile)
	key, errKey := os.ReadFile(o.keyFile)
	seen := sha256.Sum256(fmt.Appendf(nil, "%q %q %v %v", cert, key, errCert, errKey))
	if seen == o.seen {
		return nil
	}
	o.seen = seen
	for _, err := range []error{errCert, errKey} {
		if err != nil {
			return err
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %s", o.certFile, o.keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	o.log.Info("read a certificate", "file", o.certFile, "names", few(pair.Leaf.DNSNames), "until", day(pair.Leaf.NotAfter))
	if time.Now().After(pair.Leaf.NotAfter) {
		o.log.Warn("the certificate has ended; clients will refuse it", "file", o.certFile, "ended", day(pair.Leaf.NotAfter))
	}
	o.cert = &pair
	return nil
}
