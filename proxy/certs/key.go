package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
)

// A key is a private key that cannot be printed. Its curve is P-256, which every
// client knows.
type key struct{ private *ecdsa.PrivateKey }

func newKey() (*key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &key{private}, nil
}

func (k *key) Public() crypto.PublicKey { return &k.private.PublicKey }

func (k *key) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.private.Sign(r, digest, opts)
}

const notShown = "private key (not shown)"

func (k *key) String() string       { return notShown }
func (k *key) GoString() string     { return notShown }
func (k *key) LogValue() slog.Value { return slog.StringValue(notShown) }

// point returns the public key as certificates hold it.
func (k *key) point() []byte {
	point, _ := k.private.PublicKey.Bytes() // fails only for a point that is not on the curve
	return point
}

// A pair is a certificate and its key. Either may be missing.
type pair struct {
	cert *x509.Certificate
	key  *key
}

// match reports whether the key is that of the certificate.
func (p pair) match() bool { return p.key.private.PublicKey.Equal(p.cert.PublicKey) }

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

func encodeCertificate(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})
}

func encodeKey(k *key) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), err
}

// decodeCertificate reads the one certificate of a file.
func decodeCertificate(text []byte) (*x509.Certificate, error) {
	der, err := decodeBlock(text, certificateBlock)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if public, is := cert.PublicKey.(*ecdsa.PublicKey); !is || public.Curve != elliptic.P256() {
		return nil, errors.New("its key is not an ECDSA key on P-256")
	}
	return cert, nil
}

// decodeKey reads the one key of a file. Its errors quote nothing of the file.
func decodeKey(text []byte) (*key, error) {
	der, err := decodeBlock(text, keyBlock)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the key cannot be read")
	}
	private, is := parsed.(*ecdsa.PrivateKey)
	if !is || private.Curve != elliptic.P256() {
		return nil, errors.New("the key is not an ECDSA key on P-256")
	}
	return &key{private}, nil
}

// decodeBlock returns what is in the one PEM block of a file.
func decodeBlock(text []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("it holds no PEM block")
	case block.Type != kind:
		return nil, errors.New("its PEM block is not a " + kind)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("it holds more than one " + kind)
	}
	return block.Bytes, nil
}
