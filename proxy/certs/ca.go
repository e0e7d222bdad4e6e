// Package certs is a certificate authority (CA) of the proxy's own. Clients that
// trust its root can speak TLS to the proxy under a portal's name.
//
// Data flows one way: a host name comes in, a certificate for exactly that host
// goes out, signed when it is first needed and kept for a while. What signs it
// lives in a folder:
//
//	root.pem     the certificate that clients trust, 10 years
//	root.key     signs issuing.pem; may be kept elsewhere until that is renewed
//	issuing.pem  the certificate that signs those of hosts, 1 year
//	issuing.key  its key
//	bundle.pem   the system's roots and root.pem, for clients that replace theirs
//	lock         is locked while a process reads or writes the others
//
// Whoever steals issuing.key cannot pose as any other site: both certificates have
// critical name constraints, which permit the listed portals, the proxy's own
// names and loopback addresses. Java ignores those of a root, so root.key is
// worth more, and is better kept elsewhere. There are no excluded addresses,
// since two certificates that both exclude all of them crash Java.
//
// Several processes may share a folder. Files are replaced whole, in an order in
// which what a killed process left can be completed: a key before its
// certificate, the root before what it signs. Only what is missing or due is
// made. A root is never replaced; without root.pem, another is made from root.key
// with the same name, which is also how an operator renews it.
package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	maxLeaves  = 1000           // kept at once, at about 4 kB
	checkEvery = 24 * time.Hour // whether the issuing certificate is due
)

// A CA signs certificates for hosts. It is safe for concurrent use.
type CA struct {
	opener    opener
	authority atomic.Pointer[authority]

	mu     sync.Mutex
	leaves *simplelru.LRU[string, *leaf] // by host
}

// Open opens the CA in a folder, and makes what is missing there. It fails with
// an error that says what to do if the folder holds something that it cannot
// use; that includes a CA that has ended.
func Open(dir string, names Names, log *slog.Logger) (*CA, error) {
	return open(opener{folder: folder{dir, os.Rename, log}, names: names, systemRoots: systemRoots, log: log})
}

func open(o opener) (*CA, error) {
	a, err := o.open()
	if err != nil {
		return nil, err
	}
	leaves, _ := simplelru.NewLRU[string, *leaf](maxLeaves, nil) // fails only for a size below 1
	ca := &CA{opener: o, leaves: leaves}
	ca.authority.Store(a)
	return ca, nil
}

// ReadRoot returns the certificate that clients must trust, and makes nothing. It
// fails with fs.ErrNotExist if there is none yet.
func ReadRoot(dir string) ([]byte, error) {
	text, err := folder{dir, nil, slog.New(slog.DiscardHandler)}.read(rootCert, maxFile)
	if err == nil && text == nil {
		err = fmt.Errorf("%s: %w", filepath.Join(dir, rootCert), fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	root, err := decodeCertificate(text)
	if err != nil {
		return nil, damaged(rootCert, err)
	}
	return encodeCertificate(root), nil
}

// Renew keeps the issuing certificate renewed until ctx ends, and repeats the
// warnings of a CA that will end.
func (ca *CA) Renew(ctx context.Context) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			ca.renewDue()
		}
	}
}

// renewDue opens the folder again if something there is due. Another process may
// have renewed it already.
func (ca *CA) renewDue() {
	a := ca.authority.Load()
	if now := time.Now(); now.Before(dueAt(a.issuing)) && !endsSoon(a.root, now) {
		return
	}
	a, err := ca.opener.open()
	if err != nil {
		ca.opener.log.Error("the CA cannot be renewed", "error", err)
		return
	}
	ca.authority.Store(a)
}

// RootPEM returns the certificate that clients must trust.
func (ca *CA) RootPEM() []byte { return encodeCertificate(ca.authority.Load().root) }

// String names the CA without its keys.
func (ca *CA) String() string { return "CA in " + ca.opener.folder.path }

// Certificate returns a certificate for exactly one host, a name or a loopback
// address, with its key and the issuing certificate. It fails for hosts that the
// CA does not sign for.
func (ca *CA) Certificate(host string) (*tls.Certificate, error) {
	host = canonical(host)
	a := ca.authority.Load()
	if err := ca.opener.names.allow(host); err != nil {
		return nil, fmt.Errorf("no certificate is signed: %w", err)
	}
	if !permits(a.root, host) {
		return nil, fmt.Errorf("no certificate is signed: the CA was made before %s was listed, and its name constraints do not permit it; %s", host, renewRoot)
	}
	return ca.leaf(host).get(a, host)
}

// leaf returns the place of a host's certificate. There is one for each host, so
// that only one certificate is signed at a time.
func (ca *CA) leaf(host string) *leaf {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	l, found := ca.leaves.Get(host)
	if !found {
		l = new(leaf)
		ca.leaves.Add(strings.Clone(host), l)
	}
	return l
}

// A leaf is the certificate of one host.
type leaf struct {
	mu   sync.Mutex
	cert *tls.Certificate // nil until it is signed
}

// get returns the certificate, which it signs anew when it is due.
func (l *leaf) get(a *authority, host string) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.cert == nil || !now.Before(dueAt(l.cert.Leaf)) {
		cert, err := a.sign(host, now)
		if err != nil {
			return nil, err
		}
		l.cert = cert
	}
	return l.cert, nil
}
