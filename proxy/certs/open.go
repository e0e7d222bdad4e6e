package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"
)

// An opener opens the CA in a folder, and makes what is missing there.
type opener struct {
	folder      folder
	names       Names
	systemRoots []string // files with the system's roots; the first that is there counts
	log         *slog.Logger
}

// The modes of files.
const (
	public fs.FileMode = 0o644
	secret fs.FileMode = 0o600
)

// renewRoot says how an operator gets another root that clients can be given
// while the old one is still valid.
const renewRoot = "to get a root certificate with the same key and name, move root.pem away, see that root.key is there, restart, and let clients trust the new root.pem"

// open reads the folder and completes it.
func (o opener) open() (*authority, error) {
	a, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("the CA in %s cannot be used: %w", o.folder.path, err)
	}
	return a, nil
}

func (o opener) complete() (*authority, error) {
	if err := o.folder.prepare(); err != nil {
		return nil, err
	}
	release, err := o.folder.lock()
	if err != nil {
		return nil, err
	}
	defer release()
	o.folder.tidy()
	now := time.Now()
	root, err := o.root(now)
	if err != nil {
		return nil, err
	}
	issuing, err := o.issuing(root, now)
	if err != nil {
		return nil, err
	}
	if err := o.bundle(root.cert); err != nil {
		return nil, err
	}
	o.warn(root.cert, now)
	return &authority{root.cert, issuing.cert, issuing.key}, nil
}

// root returns the root, which it makes if there is none. Its key may be missing.
func (o opener) root(now time.Time) (pair, error) {
	root, err := o.readPair(rootCert, rootKey)
	if err != nil {
		return pair{}, err
	}
	if root.cert != nil {
		return root, checkRoot(root, now)
	}
	if root.key == nil {
		if root.key, err = o.beginRoot(); err != nil {
			return pair{}, err
		}
	}
	if root.cert, err = signRoot(root.key, o.names, now); err != nil {
		return pair{}, err
	}
	if err := o.writeCertificate(rootCert, root.cert); err != nil {
		return pair{}, err
	}
	o.log.Info("made a root certificate; clients must trust it", "file", o.folder.file(rootCert), "name", root.cert.Subject.CommonName, "until", day(root.cert.NotAfter))
	return root, nil
}

// beginRoot makes the key of a new root, but not beside what another signed.
func (o opener) beginRoot() (*key, error) {
	issuing, err := o.folder.read(issuingCert, maxFile)
	if err != nil {
		return nil, err
	}
	if issuing != nil {
		return nil, errors.New("root.pem and root.key are missing beside issuing.pem; put root.pem back, or move issuing.pem away to begin a new CA, which clients must then trust")
	}
	return o.writeKey(rootKey)
}

// checkRoot returns an error if a root cannot be used now.
func checkRoot(root pair, now time.Time) error {
	c := root.cert
	switch {
	case root.key != nil && !root.match():
		return errors.New("root.key is not the key of root.pem; put the right one there, or take it away until the issuing certificate is due")
	case c.CheckSignatureFrom(c) != nil || nameConstraints(c) == nil || len(c.PermittedDNSDomains) == 0:
		return errors.New("root.pem is not the root of a CA that b24proxy made (signed by itself, with critical name constraints); name another folder in which to begin one")
	case now.Before(c.NotBefore):
		return fmt.Errorf("root.pem is valid only from %s on; is the clock of this machine right?", day(c.NotBefore))
	case now.After(c.NotAfter):
		return fmt.Errorf("root.pem ended on %s; %s", day(c.NotAfter), renewRoot)
	}
	return nil
}

// issuing returns the pair that signs for hosts, which it makes anew if it is
// due, or cannot sign under this root.
func (o opener) issuing(root pair, now time.Time) (pair, error) {
	issuing, err := o.readPair(issuingCert, issuingKey)
	if err != nil {
		return pair{}, err
	}
	broken := issuing.fault(root.cert, now)
	due := broken == "" && !now.Before(dueAt(issuing.cert))
	switch {
	case broken == "" && !due:
		return issuing, nil
	case root.key != nil:
		return o.makeIssuing(root, broken, now)
	case due:
		o.log.Warn("the issuing certificate of the CA should be renewed, but root.key is not there; put root.key back and restart before the certificate ends",
			"folder", o.folder.path, "ends", day(issuing.cert.NotAfter))
		return issuing, nil
	}
	return pair{}, fmt.Errorf("%s, and another cannot be made without root.key; put root.key back and restart", broken)
}

func (o opener) makeIssuing(root pair, broken string, now time.Time) (issuing pair, err error) {
	if issuing.key, err = o.writeKey(issuingKey); err != nil {
		return pair{}, err
	}
	if issuing.cert, err = signIssuing(root, issuing.key, now); err != nil {
		return pair{}, err
	}
	if err = o.writeCertificate(issuingCert, issuing.cert); err != nil {
		return pair{}, err
	}
	if broken == "" {
		broken = "two thirds of the life of issuing.pem are over"
	}
	o.log.Info("made an issuing certificate; clients need not do anything", "why", broken, "until", day(issuing.cert.NotAfter))
	return issuing, nil
}

// fault says why an issuing pair cannot sign under a root, "" if it can.
func (p pair) fault(root *x509.Certificate, now time.Time) string {
	switch {
	case p.cert == nil:
		return "there is no issuing.pem"
	case p.key == nil:
		return "there is no issuing.key"
	case !p.match():
		return "issuing.key is not the key of issuing.pem"
	case !bytes.Equal(p.cert.RawIssuer, root.RawSubject) || p.cert.CheckSignatureFrom(root) != nil || !p.cert.IsCA:
		return "issuing.pem is not signed by root.pem"
	case !sameConstraints(p.cert, root):
		return "issuing.pem does not have the name constraints of root.pem"
	case now.Before(p.cert.NotBefore):
		return "issuing.pem is valid only from " + day(p.cert.NotBefore) + " on"
	case now.After(p.cert.NotAfter):
		return "issuing.pem ended on " + day(p.cert.NotAfter)
	}
	return ""
}

// warn reports what an operator should do about a root, now or before long.
func (o opener) warn(root *x509.Certificate, now time.Time) {
	if endsSoon(root, now) {
		o.log.Warn("the root certificate of the CA ends within a year; "+renewRoot, "file", o.folder.file(rootCert), "ends", day(root.NotAfter))
	}
	names, never := o.names.signed()
	isPermitted := func(name string) bool { return permits(root, name) }
	if names = slices.DeleteFunc(names, isPermitted); len(names) > 0 {
		o.log.Warn("some listed hosts are not permitted by the root certificate, so the CA does not sign for them; "+renewRoot, "hosts", few(names))
	}
	if len(never) > 0 {
		o.log.Warn("the CA never signs for some listed hosts: they are addresses, or OAuth hosts of Bitrix24", "hosts", few(never))
	}
}

// few shortens a list for a line of the log.
func few(names []string) []string {
	const most = 10
	if len(names) > most {
		return append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", len(names)-most))
	}
	return names
}

// readPair reads what is there of a pair.
func (o opener) readPair(cert, key string) (p pair, err error) {
	text, err := o.folder.read(cert, maxFile)
	if err == nil && text != nil {
		if p.cert, err = decodeCertificate(text); err != nil {
			err = damaged(cert, err)
		}
	}
	if err != nil {
		return pair{}, err
	}
	if text, err = o.folder.read(key, maxFile); err == nil && text != nil {
		if p.key, err = decodeKey(text); err != nil {
			err = damaged(key, err)
		}
	}
	return p, err
}

// remedies say what to do about a damaged file.
var remedies = map[string]string{
	rootCert:    "restore it from a backup; or, " + renewRoot,
	rootKey:     "restore it from a backup, or move it away: the CA works without it until issuing.pem ends",
	bundleFile:  "move it away and restart: another is made",
	issuingCert: "move it away and restart: another is made if root.key is there, and clients need not do anything",
	issuingKey:  "move it away and restart: another is made if root.key is there, and clients need not do anything",
}

func damaged(name string, err error) error {
	return fmt.Errorf("%s is damaged (%w); %s", name, err, remedies[name])
}

func (o opener) writeCertificate(name string, c *x509.Certificate) error {
	return o.folder.write(name, encodeCertificate(c), public)
}

// writeKey makes a key and keeps it.
func (o opener) writeKey(name string) (*key, error) {
	k, err := newKey()
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(k)
	if err != nil {
		return nil, err
	}
	return k, o.folder.write(name, text, secret)
}
