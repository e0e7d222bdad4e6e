package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Names lists the hosts that a CA signs for. Loopback addresses need not be
// listed.
type Names struct {
	Zones []string // each stands for all hosts below it: bitrix24.com
	Hosts []string // each stands for itself
}

// maxNames bounds the size of the certificates, which travel in each handshake.
const maxNames = 1000

// oauthHosts hand out tokens. Clients reach them through a tunnel that nobody
// ends, so a CA never signs for them.
var oauthHosts = []string{"oauth.bitrix.info", "oauth.bitrix24.tech"}

// loopback has the address ranges that a CA signs for.
var loopback = []*net.IPNet{
	{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
	{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
}

// canonical returns the one spelling of a host that certificates have.
func canonical(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(host)
}

// allow returns nil if the CA may sign for a host.
func (n Names) allow(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if !ip.IsLoopback() || ip.Zone() != "" {
			return fmt.Errorf("%s is an address; the CA signs only for names and for loopback addresses", ip)
		}
		return nil
	}
	switch {
	case !isName(host):
		return fmt.Errorf("%.80q is not a host name", host)
	case isOAuth(host):
		return fmt.Errorf("%s is an OAuth host of Bitrix24, which clients reach without the proxy", host)
	case slices.Contains(n.Hosts, host), slices.ContainsFunc(n.Zones, func(zone string) bool { return host != zone && within(host, zone) }):
		return nil
	}
	return fmt.Errorf("%s is not a host that the CA signs for", host)
}

// isName reports whether a host is a name in lower case, and not a pattern or
// what some clients take for an address.
func isName(host string) bool {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	_, err := strconv.ParseUint(labels[len(labels)-1], 0, 64)
	return err != nil && len(host) <= 253
}

func isOAuth(host string) bool {
	return slices.ContainsFunc(oauthHosts, func(oauth string) bool { return within(host, oauth) })
}

// within reports whether a name is a domain or is below it.
func within(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// signed returns the listed domains that a CA can sign for, and the listed hosts
// that none ever signs for.
func (n Names) signed() (domains, never []string) {
	for _, zone := range n.Zones {
		if isName(zone) && !isOAuth(zone) {
			domains = append(domains, zone)
		} else {
			never = append(never, "*."+zone)
		}
	}
	for _, host := range n.Hosts {
		if n.allow(host) != nil {
			never = append(never, host)
		} else if isName(host) {
			domains = append(domains, host)
		}
	}
	return domains, never
}

// constraints returns the domains that a root permits, each once and none below
// another, and the OAuth hosts that these would include.
func (n Names) constraints() (permitted, excluded []string, err error) {
	domains, _ := n.signed()
	slices.SortFunc(domains, func(a, b string) int { return len(a) - len(b) })
	includes := func(name string) bool {
		return slices.ContainsFunc(permitted, func(domain string) bool { return within(name, domain) })
	}
	for _, domain := range domains {
		if !includes(domain) {
			permitted = append(permitted, domain)
		}
	}
	for _, host := range oauthHosts {
		if includes(host) {
			excluded = append(excluded, host)
		}
	}
	switch {
	case len(permitted) == 0: // a certificate that permits no domain in particular permits all
		err = errors.New("no host is listed that the CA could sign for")
	case len(permitted) > maxNames:
		err = fmt.Errorf("%d portals are listed, and a CA can have %d; list zones such as *.example.org in their place", len(permitted), maxNames)
	}
	slices.Sort(permitted)
	return permitted, excluded, err
}

// permits reports whether the name constraints of a certificate let it sign for
// a host.
func permits(c *x509.Certificate, host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return slices.ContainsFunc(c.PermittedIPRanges, func(r *net.IPNet) bool { return r.Contains(ip) })
	}
	includes := func(domain string) bool { return within(host, domain) }
	return slices.ContainsFunc(c.PermittedDNSDomains, includes) && !slices.ContainsFunc(c.ExcludedDNSDomains, includes)
}

// nameConstraints returns the critical name constraints of a certificate as they
// are encoded, nil if it has none.
func nameConstraints(c *x509.Certificate) []byte {
	id := asn1.ObjectIdentifier{2, 5, 29, 30}
	for _, extension := range c.Extensions {
		if extension.Id.Equal(id) && extension.Critical {
			return extension.Value
		}
	}
	return nil
}

func sameConstraints(a, b *x509.Certificate) bool {
	return bytes.Equal(nameConstraints(a), nameConstraints(b))
}
