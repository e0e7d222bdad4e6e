package proxy

import (
	"errors"
	"net/netip"
	"slices"
)

// errNotPublic does not say whether anything listens there: a caller may have chosen
// the name to find that out.
var errNotPublic = errors.New("the name leads to an address that is not public; name the host in B24PROXY_PORTALS or B24PROXY_CONNECT_TO if it is yours")

// onlyPublic fails for an address, with its port, that cannot be a cloud portal's.
func onlyPublic(address string) error {
	if to, err := netip.ParseAddrPort(address); err != nil || !isPublic(to.Addr()) {
		return errNotPublic
	}
	return nil
}

// isPublic reports whether an address is globally reachable.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if ip.Is6() && !unicast.Contains(ip) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// isPrivateIP reports whether a clean host is an address that is not globally reachable.
func isPrivateIP(host string) bool {
	ip, err := netip.ParseAddr(hostOnly(host))
	return err == nil && !isPublic(ip)
}

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // IPv4 addresses, for networks that have none (RFC 6052)
	unicast = netip.MustParsePrefix("2000::/3")     // all of IPv6 that is allocated
)

// special are the addresses within IPv4 and within unicast that are not globally
// reachable (RFC 6890 and the registries of IANA).
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
