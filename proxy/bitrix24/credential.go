package bitrix24

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"sync"
	"sync/atomic"
)

// maxCredentialBody is how many bytes of a body are searched for a token. A call
// whose token comes later counts as a call without one.
const maxCredentialBody = 64 << 10

// CredentialKind is how a caller proves who he is.
type CredentialKind string

const (
	CredentialWebhook CredentialKind = "webhook"
	CredentialOAuth   CredentialKind = "oauth"
	CredentialNone    CredentialKind = "none"
)

// Credential says who calls, and does not hold the secret.
type Credential struct {
	Kind CredentialKind

	// ID is 12 hexadecimal digits, or "" without a credential. It stays the same
	// for the same secret as long as the process lives, and after it where
	// UseIDKey is given the same key. An OAuth token lives for an hour (README.md#credentials), and the next one has another ID.
	ID string
}

// String returns the kind and the ID, such as "webhook 507da47e72b7".
func (c Credential) String() string { return string(c.Kind) + " " + c.ID }

// idKey is the key of the hash that makes IDs. With a plain hash, whoever sees the
// status page could test weak codes and known tokens against it. With a random key
// that nobody else has, an ID reveals nothing.
//
// So two processes have different IDs for the same secret, unless both use one key, as
// replicas with a shared store do.
var idKey atomic.Pointer[macs]

// macs are the hashes with one key, which cost more to make than to use again.
type macs struct{ pool sync.Pool }

// A mac is a hash, and memory for what goes into it and comes out.
type mac struct {
	hash hash.Hash
	text []byte
}

func init() {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails, says its documentation
	UseIDKey(key)
}

// UseIDKey sets the key of which IDs are made, in place of a random one. The IDs of two
// keys differ, so it should be called before the first ID is made. It may be called later
// where the key comes later: the portal's next answers teach the new IDs.
func UseIDKey(key []byte) {
	idKey.Store(&macs{sync.Pool{New: func() any { return &mac{hash: hmac.New(sha256.New, key)} }}})
}

// idOf returns the ID of a secret.
func idOf(kind CredentialKind, secret string) string {
	key := idKey.Load()
	m := key.pool.Get().(*mac)
	defer key.pool.Put(m)
	m.text = append(append(append(m.text[:0], kind...), ' '), secret...)
	m.hash.Reset()
	m.hash.Write(m.text)
	m.text = m.hash.Sum(m.text[:0])
	return hex.EncodeToString(m.text[:6])
}

// FindCredential returns who makes the call c (README.md#credentials). It looks,
// in this order, at the webhook in the path, at the value of the header
// Authorization if that is a Bearer token, and in rawQuery and the first 64 KiB of
// body for the parameters auth and access_token. auth may be an array, as in
// auth[access_token]=….
func FindCredential(c Call, rawQuery, authorization, contentType string, body []byte) Credential {
	if c.Webhook {
		return Credential{Kind: CredentialWebhook, ID: c.webhook}
	}
	token := findToken(rawQuery, authorization, contentType, body)
	if token == "" {
		return Credential{Kind: CredentialNone}
	}
	return Credential{Kind: CredentialOAuth, ID: idOf(CredentialOAuth, token)}
}

func findToken(rawQuery, authorization, contentType string, body []byte) string {
	token := bearer(authorization)
	if token == "" {
		token = tokenInForm(rawQuery)
	}
	if token == "" {
		token = tokenInBody(contentType, body)
	}
	return token
}

// shortToken bounds what may be part of other values by chance. Tokens are longer.
const shortToken = 32

// WithoutToken returns rawQuery and body without the token that FindCredential finds,
// so that two calls of an application are the same although its token has changed.
func WithoutToken(c Call, rawQuery, authorization, contentType string, body []byte) (query string, rest []byte) {
	if c.Webhook {
		return rawQuery, body
	}
	token := findToken(rawQuery, authorization, contentType, body)
	if len(token) < shortToken {
		return rawQuery, body
	}
	return strings.ReplaceAll(rawQuery, token, "\x00"), bytes.ReplaceAll(body, []byte(token), []byte{0})
}

func bearer(authorization string) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func tokenInForm(form string) string {
	for name, value := range parameters(form) {
		switch name {
		case "auth", "access_token", "auth[access_token]":
			if value != "" {
				return value
			}
		}
	}
	return ""
}

func tokenInBody(contentType string, body []byte) string {
	body, cut := firstBytes(body)
	mediaType, params, _ := mime.ParseMediaType(contentType)
	switch {
	case mediaType == "multipart/form-data":
		return tokenInMultipart(params["boundary"], body)
	case bytes.HasPrefix(trimStart(body), []byte("{")): // even if the type is wrong or absent
		return tokenInJSON(body)
	case bytes.HasPrefix(trimStart(body), []byte("[")): // a batch of version 3
		return ""
	case cut: // half a token would look like another token
		body = body[:bytes.LastIndexByte(body, '&')+1]
	}
	return tokenInForm(string(body))
}

func firstBytes(body []byte) (first []byte, cut bool) {
	if len(body) > maxCredentialBody {
		return body[:maxCredentialBody], true
	}
	return body, false
}

// tokenInJSON reads the top level of an object that may be cut off.
func tokenInJSON(body []byte) string {
	for name, raw := range members(body) {
		if name != "auth" && name != "access_token" {
			continue
		}
		var token string
		if json.Unmarshal(raw, &token) == nil && token != "" {
			return token
		}
		for name, raw := range members(raw) {
			if name == "access_token" && json.Unmarshal(raw, &token) == nil && token != "" {
				return token
			}
		}
	}
	return ""
}

func tokenInMultipart(boundary string, body []byte) string {
	if boundary == "" {
		return ""
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return ""
		}
		switch part.FormName() {
		case "auth", "access_token", "auth[access_token]":
			if token, err := io.ReadAll(part); err == nil && len(token) > 0 {
				return string(token)
			}
		}
	}
}
