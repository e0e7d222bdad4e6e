package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
)

// systemRoots are the files in which systems keep their roots, as crypto/x509
// looks for them.
var systemRoots = []string{
	"/etc/ssl/certs/ca-certificates.crt",                // Debian, Alpine, and our image
	"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
	"/etc/ssl/ca-bundle.pem",                            // openSUSE
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL
	"/etc/ssl/cert.pem",                                 // macOS, FreeBSD
}

// bundle writes the system's roots and ours into one file. The system's change,
// so each start writes it anew if need be.
func (o opener) bundle(root *x509.Certificate) error {
	text := o.readSystemRoots()
	if text == nil {
		o.log.Warn("no file with the system's root certificates was found, so bundle.pem has only that of the CA: clients whose roots it replaces cannot call other hosts",
			"looked_for", o.systemRoots)
	}
	text = append(text, encodeCertificate(root)...)
	if old, err := o.folder.read(bundleFile, maxBundle); err != nil || bytes.Equal(old, text) {
		return err
	}
	return o.folder.write(bundleFile, text, public)
}

// readSystemRoots returns the system's roots and a line feed, nil if there are
// none.
func (o opener) readSystemRoots() []byte {
	for _, path := range o.systemRoots {
		file, err := os.Open(path)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(file, maxSystemRoots))
		file.Close()
		if first, _ := pem.Decode(text); err == nil && first != nil && first.Type == certificateBlock {
			return append(bytes.TrimSpace(text), '\n')
		}
	}
	return nil
}
