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
// either yields what it says, or an error that quotes nothing of it.
func FuzzDecode(f *testing.F) {
	ca, _ := openTest(f, newDir(f), listed)
	k, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	text, err := encodeKey(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	addOtherKeys(f)
	f.Add(ca.RootPEM())
	f.Add(append(ca.RootPEM(), text...))
	f.Add(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	f.Add(text[:len(text)/2])
	f.Add(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := decodeCertificate(text); err == nil {
			again, err := decodeCertificate(encodeCertificate(c))
			if err != nil || !again.Equal(c) {
				t.Errorf("got the error %v, want the same certificate", err)
			}
			permits(c, "acme.bitrix24.com")
			pair{cert: c}.fault(c, c.NotBefore)
			checkRoot(pair{cert: c}, c.NotBefore)
		}
		k, err := decodeKey(text)
		if err != nil && len(err.Error()) > 60 {
			t.Errorf("got the error %v, want a fixed text, without what the file holds", err)
		}
		if err == nil {
			encoded, _ := encodeKey(k)
			if again, err := decodeKey(encoded); err != nil || !again.private.Equal(k.private) {
				t.Errorf("got the error %v, want the same key", err)
			}
		}
	})
}
