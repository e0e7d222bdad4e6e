// Package access decides who may call: the clients that have a key. It counts those
// who have none, and slows those who guess. It also carries the tunnels whose bytes
// the proxy does not read.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Clients are the clients that may call, each with a name and a key. If there are
// none, everybody may call. It keeps hashes in place of the keys, and prints as names
// alone.
type Clients struct{ all []client }

type client struct {
	name string
	has  func(key hash) bool // a function, since no verb of fmt prints what it knows
}

type hash [sha256.Size]byte

func hashOf(key string) hash { return sha256.Sum256([]byte(key)) }

// newClient keeps the hash of a key, and compares it in constant time.
func newClient(name, key string) client {
	own := hashOf(key)
	return client{name, func(key hash) bool { return subtle.ConstantTimeCompare(key[:], own[:]) == 1 }}
}

// shortestKey is the least number of characters of a key.
const shortestKey = 16

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	validKey  = regexp.MustCompile(`^[A-Za-z0-9_-]*$`)
)

// Add lets a client call. The error repeats neither the name nor the key: whoever
// exchanges the two has written the key in place of the name.
//
// A key has no character that must be escaped in the userinfo of a URL, since some
// programs (axios) do not decode that.
func (c *Clients) Add(name, key string) error {
	switch {
	case !validName.MatchString(name):
		return errors.New("the name must have 1 to 64 letters, digits, dots, dashes or underscores")
	case name == "none" || name == "other":
		return fmt.Errorf("%q has another meaning in the log and in the metrics; choose another name", name)
	case !validKey.MatchString(key):
		return errors.New("the key may have only letters, digits, dashes and underscores")
	case len(key) < shortestKey:
		return fmt.Errorf("the key has %d characters, but needs at least %d", len(key), shortestKey)
	}
	for _, other := range c.all {
		switch {
		case other.name == name:
			return errors.New("the name is that of another client too; give each client one name and one key")
		case other.has(hashOf(key)):
			return errors.New("the key is that of another client too; give each client a key of its own")
		}
	}
	c.all = append(c.all, newClient(name, key))
	return nil
}

// Any reports whether clients need a key.
func (c *Clients) Any() bool { return len(c.all) > 0 }

// Names lists the clients in the order in which they were added.
func (c *Clients) Names() []string {
	names := make([]string, len(c.all))
	for i, one := range c.all {
		names[i] = one.name
	}
	return names
}

// Caller returns the client whose key is in the header of a request, or "". tried
// reports whether there is anything that is meant as a key. The key is in
// Proxy-Authorization, or in Authorization if that is not needed for a token of the
// portal. Only the first line of each is looked at, so that a request is one guess.
func (c *Clients) Caller(h http.Header) (name string, tried bool) {
	proxy, origin := h.Get("Proxy-Authorization"), h.Get("Authorization")
	if name := c.find(proxy); name != "" {
		return name, true
	}
	_, isBasic := cutBasic(origin)
	return c.find(origin), proxy != "" || isBasic
}

// Strip removes the keys from the header of a request, also where they are not valid. It
// leaves what is meant for the portal.
func (c *Clients) Strip(h http.Header) {
	if !c.Any() {
		return
	}
	h.Del("Proxy-Authorization")
	var others []string
	for _, value := range h.Values("Authorization") {
		if !c.keyIsIn(value) {
			others = append(others, value)
		}
	}
	h.Del("Authorization")
	if others != nil {
		h["Authorization"] = others
	}
}

// find returns the client whose key is in the value of a header, or "". The key is
// the password, with the client's name or nothing as the user; without a password it
// is the user, as in http://KEY@host.
func (c *Clients) find(value string) string {
	credentials, isBasic := cutBasic(value)
	if !isBasic {
		return ""
	}
	user, key, _ := strings.Cut(credentials, ":")
	if key == "" {
		user, key = "", user
	}
	name := c.owner(key)
	if user != "" && user != name {
		return ""
	}
	return name
}

// mayBeKey finds what may be a key, or base64 with one in it.
var mayBeKey = regexp.MustCompile(fmt.Sprintf(`[A-Za-z0-9+/_-]{%d,}`, shortestKey))

// keyIsIn reports whether a key is anywhere in a text, as it is or in base64.
func (c *Clients) keyIsIn(text string) bool {
	isKey := func(word string) bool { return c.owner(word) != "" }
	return slices.ContainsFunc(mayBeKey.FindAllString(text, -1), func(word string) bool {
		plain, _ := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(word))
		return isKey(word) || slices.ContainsFunc(mayBeKey.FindAllString(string(plain), -1), isKey)
	})
}

// owner returns the client who has a key, or "". It takes the same time for each key.
func (c *Clients) owner(key string) (name string) {
	presented := hashOf(key)
	for _, one := range c.all {
		if one.has(presented) {
			name = one.name
		}
	}
	return name
}

// cutBasic returns the user and the password, with a colon between them, of Basic
// authentication (RFC 7617).
func cutBasic(value string) (credentials string, isBasic bool) {
	scheme, encoded, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", false
	}
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(encoded), "="))
	if err != nil {
		return "", true
	}
	return string(plain), true
}

// String returns the names.
func (c Clients) String() string { return strings.Join(c.Names(), ",") }

// Format prints the names, whatever the verb.
func (c Clients) Format(s fmt.State, _ rune) { io.WriteString(s, c.String()) }

// LogValue is for slog.
func (c Clients) LogValue() slog.Value { return slog.StringValue(c.String()) }
