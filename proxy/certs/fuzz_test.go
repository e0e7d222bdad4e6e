package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

// addOtherKeys adds keys and certificates that a CA does not have.
func addOtherKeys(f *testing.F) {
	f.Helper()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, signer := range []crypto.Signer{p384, private} {
		der, err := x509.MarshalPKCS8PrivateKey(signer)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}))
		if der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{}, &x509.Certificate{}, signer.Public(), signer); err != nil {
			f.Fatal(err)
		}
		f.Add(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}))
	}
}

// Whatever a file of the folder holds, reading it ends without a panic, and
// either yields what it says, or an error that quotes nothing of it. So does what
// a PEM block of it holds.
func FuzzDecode(f *testing.F) {
	ca, _ := openTest(f, newDir(f), listed)
	a := ca.authority.Load()
	text, err := encodeKey(a.key)
	if err != nil {
		f.Fatal(err)
	}
	addOtherKeys(f)
	block, _ := pem.Decode(text)
	f.Add(block.Bytes)
	f.Add(a.root.Raw)
	f.Add(a.issuing.Raw)
	f.Add(text)
	f.Add(ca.RootPEM())
	f.Add(append(ca.RootPEM(), text...))
	f.Add(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	f.Add(text[:len(text)/2])
	f.Add(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, text := range [][]byte{text, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: text})} {
			if c, err := decodeCertificate(text); err == nil {
				checkCertificate(t, c, a)
			}
		}
		for _, text := range [][]byte{text, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: text})} {
			checkKey(t, text)
		}
	})
}

// checkCertificate checks that a certificate that was read is the same when it is
// read again, and that whatever is in it can be judged.
func checkCertificate(t *testing.T, c *x509.Certificate, a *authority) {
	t.Helper()
	if again, err := decodeCertificate(encodeCertificate(c)); err != nil || !again.Equal(c) {
		t.Errorf("got the error %v, want the same certificate", err)
	}
	permits(c, "acme.bitrix24.com")
	dueAt(c)
	if checkRoot(pair{c, a.key}, a.root.NotBefore) == nil {
		t.Errorf("got a root with the key of an issuing certificate, want it refused")
	}
	if (pair{c, a.key}).fault(a.root, a.root.NotBefore) == "" && !c.Equal(a.issuing) {
		t.Error("got another issuing certificate with the same signature, want it refused")
	}
}

func checkKey(t *testing.T, text []byte) {
	t.Helper()
	k, err := decodeKey(text)
	if err != nil {
		if len(err.Error()) > 60 {
			t.Errorf("got the error %v, want a fixed text, without what the file holds", err)
		}
		return
	}
	encoded, _ := encodeKey(k)
	if again, err := decodeKey(encoded); err != nil || !again.private.Equal(k.private) {
		t.Errorf("got the error %v, want the same key", err)
	}
}
