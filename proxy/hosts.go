package proxy

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// A HostPattern names a portal's host, or with "*." in front every host below
// a domain. A port is part of the name.
type HostPattern struct {
	host     string // in lower case, "host" or "host:port"; below a domain ".domain"
	wildcard bool
}

// ParseHostPattern reads "acme.bitrix24.com", "*.example.org" or
// "crm.example.org:8443".
func ParseHostPattern(s string) (HostPattern, error) {
	host, wildcard := strings.CutPrefix(s, "*.")
	name, err := cleanHost(host)
	if err != nil {
		return HostPattern{}, fmt.Errorf("%q is no host: a name such as acme.bitrix24.com or *.bitrix24.com, with a port only where the portal has one", s)
	}
	if wildcard {
		name = "." + name
	}
	return HostPattern{host: name, wildcard: wildcard}, nil
}

func (p HostPattern) matches(host string) bool {
	if p.wildcard {
		return strings.HasSuffix(host, p.host) && len(host) > len(p.host)
	}
	return host == p.host
}

// exacter tells whether p says more than o, where both match.
func (p HostPattern) exacter(o HostPattern) bool {
	return !p.wildcard && o.wildcard || p.wildcard == o.wildcard && len(p.host) > len(o.host)
}

func (p HostPattern) String() string {
	if p.wildcard {
		return "*" + p.host
	}
	return p.host
}

// HostMap gives hosts values by pattern.
type HostMap[V any] []HostEntry[V]

// HostEntry is one line of a HostMap.
type HostEntry[V any] struct {
	Pattern HostPattern
	Value   V
}

// find returns the value of the most exact pattern that matches.
func (m HostMap[V]) find(host string) (value V, found bool) {
	var best HostPattern
	for _, e := range m {
		if e.Pattern.matches(host) && (!found || e.Pattern.exacter(best)) {
			best, value, found = e.Pattern, e.Value, true
		}
	}
	return value, found
}

// cleanHost brings a host, with or without a port, into the one form that is
// compared: lower case, no dot at the end, no default port.
func cleanHost(s string) (string, error) {
	s = strings.ToLower(s)
	host, port := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if strings.HasSuffix(s, "]") {
		host = strings.Trim(s, "[]")
	}
	host = strings.TrimSuffix(host, ".")
	if net.ParseIP(host) == nil && !isHostName(host) || !isPort(port) {
		return "", fmt.Errorf("%q is no host", s)
	}
	switch {
	case port != "" && port != "80" && port != "443":
		return net.JoinHostPort(host, port), nil
	case strings.Contains(host, ":"):
		return "[" + host + "]", nil
	}
	return host, nil
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil && n > 0
}

// Loopback tells whether the pattern names this machine itself.
func (p HostPattern) Loopback() bool {
	host, _, err := net.SplitHostPort(p.host)
	if err != nil {
		host = strings.Trim(p.host, "[]")
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// CloudPortals are the zones in which Bitrix24 runs portals, as its own server
// lists them by region.
func CloudPortals() []HostPattern {
	zones := []string{
		"com", "eu", "de", "fr", "it", "es", "pl", "uk", "com.br", "com.tr",
		"in", "cn", "jp", "vn", "id", "ru", "by", "kz", "ua", "uz",
	}
	patterns := make([]HostPattern, len(zones))
	for i, zone := range zones {
		patterns[i] = HostPattern{host: ".bitrix24." + zone, wildcard: true}
	}
	return patterns
}
