package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A HostPattern is the name of a portal's host, or "*." and a domain, which means
// all hosts below it. A port is part of the name.
type HostPattern struct {
	host     string // as cleanHost returns it, with a dot in front if wildcard is set
	wildcard bool
}

// ParseHostPattern reads "acme.bitrix24.com", "*.example.org" or
// "crm.example.org:8443".
func ParseHostPattern(s string) (HostPattern, error) {
	host, wildcard := strings.CutPrefix(s, "*.")
	name, err := cleanHost(host, portalPort)
	if err != nil {
		return HostPattern{}, fmt.Errorf("%q is not a valid host: write a name such as acme.bitrix24.com or *.bitrix24.com, with a port only if the portal has one; %s", s, asciiOnly)
	}
	if wildcard {
		name = "." + name
	}
	return HostPattern{host: name, wildcard: wildcard}, nil
}

// Listed reports whether one of the patterns matches a host.
func Listed(patterns []HostPattern, host string) bool {
	clean, err := cleanHost(host, portalPort)
	return err == nil && slices.ContainsFunc(patterns, func(p HostPattern) bool { return p.matches(clean) })
}

// matches reports whether the pattern allows a clean host, which begins with no dot.
func (p HostPattern) matches(host string) bool {
	if p.wildcard {
		return strings.HasSuffix(host, p.host)
	}
	return host == p.host
}

// moreSpecific reports whether p wins over o if both match.
func (p HostPattern) moreSpecific(o HostPattern) bool {
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

// find returns the value of the most specific pattern that matches.
func (m HostMap[V]) find(host string) (value V, found bool) {
	var best HostPattern
	for _, e := range m {
		if e.Pattern.matches(host) && (!found || e.Pattern.moreSpecific(best)) {
			best, value, found = e.Pattern, e.Value, true
		}
	}
	return value, found
}

// portalPort is the port of a portal whose name has none.
const portalPort = "443"

// asciiOnly says how a name must be written. Letters beyond ASCII are not converted,
// since some would become letters of another portal's name (U+212A becomes a k).
const asciiOnly = "write a name with other letters than a to z in its xn-- form (xn--80awhdgm.xn--p1ai)"

// cleanHost converts a host, with or without a port, into the one form in which hosts
// are compared: ASCII in lower case, without a dot at the end, an IP address as netip
// writes it, and without the default port.
func cleanHost(s, defaultPort string) (string, error) {
	name, port, ok := cleanParts(s)
	if !ok {
		return "", fmt.Errorf("%q is not a valid host", s)
	}
	return joinParts(name, port, defaultPort), nil
}

// cleanParts is cleanHost for those who do not know the default port yet.
func cleanParts(s string) (name, port string, ok bool) {
	host, port, hasPort := splitPort(s)
	if !hasPort {
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			host = s[1 : len(s)-1]
		}
	}
	name, okName := cleanName(host, strings.HasPrefix(s, "["))
	port, okPort := cleanPort(port)
	return name, port, okName && okPort
}

// unlessDefault returns a port, or "" for the default one.
func unlessDefault(port, defaultPort string) string {
	if port == defaultPort {
		return ""
	}
	return port
}

func joinParts(name, port, defaultPort string) string {
	switch port = unlessDefault(port, defaultPort); {
	case port != "":
		return net.JoinHostPort(name, port)
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}

// splitPort splits a host from its port, if it has one. It makes no error for each name
// without a port, as net.SplitHostPort does.
func splitPort(s string) (host, port string, hasPort bool) {
	if !strings.Contains(s, ":") {
		return s, "", false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return s, "", false
	}
	return host, port, true
}

// cleanName converts a host without its port. Only a host with colons may be in
// brackets.
func cleanName(host string, bracketed bool) (name string, ok bool) {
	switch ip, isIP := parseIP(host); {
	case isIP && ip.Is4(): // which netip reads in one spelling only
		return host, !bracketed
	case isIP:
		return ip.Unmap().String(), ip.Zone() == "" && (ip.Is6() || !bracketed)
	}
	host = strings.TrimSuffix(host, ".")
	return strings.ToLower(host), isHostName(host) && !bracketed
}

// parseIP reads an IP address. It makes no error for each name.
func parseIP(host string) (ip netip.Addr, isIP bool) {
	if !strings.Contains(host, ":") && !startsWithDigit(host) {
		return ip, false
	}
	ip, err := netip.ParseAddr(host)
	return ip, err == nil
}

func startsWithDigit(s string) bool { return s != "" && '0' <= s[0] && s[0] <= '9' }

func cleanPort(port string) (clean string, ok bool) {
	if port == "" {
		return "", true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if port[0] == '0' {
		port = strconv.FormatUint(n, 10)
	}
	return port, err == nil && n > 0
}

// hostOnly returns a clean host without its port and brackets.
func hostOnly(host string) string {
	if name, _, hasPort := splitPort(host); hasPort {
		return name
	}
	return strings.Trim(host, "[]")
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// isHostName reports whether s is a name of ASCII letters, digits, dashes and
// underscores. If its last label is a number, it is an IP address in a spelling that
// only some resolvers accept, such as 127.1.
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	last := ""
	for last = range strings.SplitSeq(s, ".") {
		if last == "" || len(last) > 63 || strings.IndexFunc(last, isNoHostRune) >= 0 {
			return false
		}
	}
	if !startsWithDigit(last) {
		return true
	}
	_, err := strconv.ParseUint(last, 0, 64)
	return err != nil
}

func isNoHostRune(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
		return false
	}
	return true
}

// isLocalhost reports whether a clean host is a name of this machine.
func isLocalhost(host string) bool {
	name := hostOnly(host)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// Loopback reports whether the pattern is a name or an address of this machine.
func (p HostPattern) Loopback() bool {
	ip, _ := netip.ParseAddr(hostOnly(p.host))
	return ip.IsLoopback() || isLocalhost(p.host)
}

// CloudPortals returns the zones in which Bitrix24 runs portals, as its own server
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
