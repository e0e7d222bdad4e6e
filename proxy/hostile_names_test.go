package proxy

import "strings"

// hostileNames are requests whose portal is named by what is no name of a portal, or
// that of another: in the Host, in B24-Portal, as the first path segment, and in a
// target in absolute form.
func hostileNames() (all []hostile) {
	const off, bad, none = "403 PORTAL_NOT_ALLOWED", "400 REQUEST_NOT_READ", "400 PORTAL_NOT_NAMED"
	label := strings.Repeat("a", 63)
	for _, row := range []struct {
		what, name                         string
		asHost, asHeader, asPath, asTarget string // the answer, or the portal that is meant
	}{
		{"a portal's name before a domain", "acme.bitrix24.com.evil.example", off, off, off, off},
		{"a portal's name before a domain with a dash", "acme.bitrix24.com-evil.example", off, off, off, off},
		{"a zone that ends another name", "evilbitrix24.com", off, off, off, off},
		{"a zone below another top-level domain", "bitrix24.com.evil", off, off, off, off},
		{"a zone itself", "bitrix24.com", off, off, off, off},
		{"a zone itself, with a dot in front", ".bitrix24.com", off, off, off, off},
		{"a zone with two dots in front", "..bitrix24.com", off, off, off, off},
		{"a zone with the dot at its end", "bitrix24.com.", off, off, off, off},
		{"a zone that Bitrix24 does not run", "acme.bitrix24.tech", off, off, off, off},
		{"a punycode look-alike", "acme.xn--btrix24-q9a.com", off, off, off, off},
		{"a punycode dot", "acme.xn--bitrix24-.com.evil.example", off, off, off, off},
		{"a star", "*", off, off, off, off},
		{"two dots within", "acme..bitrix24.com", off, off, off, off},
		{"two dots at the end", "acme.bitrix24.com..", off, off, off, off},
		{"a label of 64 letters", label + "a.bitrix24.com", off, off, off, off},
		{"a name of 254 bytes", strings.Join([]string{label, label, label, label[:49]}, ".") + ".bitrix24.com", off, off, off, off},
		{"127.0.0.1 as decimal", "2130706433", off, off, none, off},
		{"an address in octal", "0177.0.0.1", off, off, off, off},
		{"an address in hex", "0x7f.0.0.1", off, off, off, off},
		{"an address in hex without dots", "0x7f000001", off, off, none, off},
		{"an address of two parts", "127.1", off, off, off, off},
		{"an address of one zero", "0", off, off, none, off},
		{"the address for all", "0.0.0.0", none, off, off, off},
		{"an IPv4 address within IPv6", "[::ffff:127.0.0.1]", none, off, off, off},
		{"an IPv6 address in full", "[0:0:0:0:0:0:0:1]", none, off, off, off},
		{"the address of cloud metadata", "169.254.169.254", none, off, off, off},
		{"the address of cloud metadata in IPv6", "[fd00:ec2::254]", none, off, off, off},
		{"the name of cloud metadata", "metadata.google.internal", off, off, off, off},
		{"an address with a zone", "[fe80::1%25eth0]", off, off, off, off},
		{"an IPv6 address without brackets", "::1", none, off, off, bad},
		{"an open bracket", "[::1", off, off, off, bad},
		{"a closing bracket alone", "::1]", off, off, off, bad},
		{"a portal in brackets", "[acme.bitrix24.com]", off, off, off, bad},
		{"an IPv4 address in brackets", "[127.0.0.1]", off, off, off, bad},
		{"userinfo before a portal", "user@acme.bitrix24.com", bad, off, off, "acme.bitrix24.com"},
		{"userinfo with a password before a portal", "user:pass@acme.bitrix24.com", bad, off, off, "acme.bitrix24.com"},
		{"a portal as userinfo", "acme.bitrix24.com@evil.example", bad, off, off, off},
		{"a portal and a port as userinfo", "acme.bitrix24.com:443@evil.example", bad, off, off, off},
		{"port 0", "acme.bitrix24.com:0", off, off, off, off},
		{"a port beyond 65535", "acme.bitrix24.com:99999", off, off, off, off},
		{"a port with a letter", "acme.bitrix24.com:443x", off, off, off, bad},
		{"a port with a sign", "acme.bitrix24.com:+443", off, off, off, bad},
		{"a port of the portal that is not listed", "acme.bitrix24.com:22", off, off, off, off},
		{"two ports", "acme.bitrix24.com:443:443", off, off, off, bad},
		{"two colons", "acme.bitrix24.com::443", off, off, off, bad},
		{"a space within", "acme.bitrix24.com evil.example", bad, off, bad, bad},
		{"a tab within", "acme.bitrix24.com\tevil.example", bad, off, bad, bad},
		{"a slash", "acme.bitrix24.com/evil.example", bad, off, "acme.bitrix24.com", "acme.bitrix24.com"},
		{"a backslash", "evil.example\\acme.bitrix24.com", bad, off, off, bad},
		{"a question mark", "evil.example?acme.bitrix24.com", bad, off, none, off},
		{"a number sign", "evil.example#acme.bitrix24.com", bad, off, off, bad},
		{"a comma", "acme.bitrix24.com, evil.example", bad, off, bad, bad},
		{"a semicolon", "evil.example;acme.bitrix24.com", off, off, off, off},
		{"quotes", "\"acme.bitrix24.com\"", bad, off, off, off},
		{"a percent escape", "acme%2ebitrix24.com", off, off, off, bad},
		{"a percent escape of a NUL", "evil.example%00.bitrix24.com", off, off, off, bad},
		{"a sign that folds to a k", "\u212a.bitrix24.com", bad, off, off, off},
		{"a dotless i", "acme.b\u0131trix24.com", bad, off, off, off},
		{"fullwidth letters", "\uff41cme.bitrix24.com", bad, off, off, off},
		{"an ideographic full stop", "acme\u3002bitrix24.com", bad, off, off, off},
		{"a zero-width space", "ac\u200bme.bitrix24.com", bad, off, off, off},
		{"a name in Cyrillic", "\u0430cme.bitrix24.com", bad, off, off, off},
		{"bytes that are not UTF-8", "acme\xff.bitrix24.com", bad, off, off, off},
		{"an address of a page", "https://acme.bitrix24.com", bad, off, none, off},
		{"a NUL within", "acme\x00.bitrix24.com", bad, bad, bad, bad},
		{"a carriage return within", "acme.bitrix24.com\revil", bad, bad, bad, bad},
		{"an underscore", "ac_me.bitrix24.com.evil.example", off, off, off, off},
	} {
		for _, way := range []struct{ what, want, sent string }{
			{"Host is ", row.asHost, toHost(row.name)},
			{"B24-Portal is ", row.asHeader, request("GET", hookPath, "HTTP/1.1", "Host: acme.bitrix24.com", "B24-Portal: "+row.name)},
			{"the path begins with ", row.asPath, request("GET", "/"+row.name+hookPath, "HTTP/1.1", "Host: localhost")},
			{"the target has ", row.asTarget, request("GET", "http://"+row.name+hookPath, "HTTP/1.1", "Host: acme.bitrix24.com")},
		} {
			input := hostile{what: way.what + row.what, sent: way.sent, want: way.want}
			if !strings.Contains(way.want, " ") {
				input.want, input.dialled = notReached503, way.want+":443"
			}
			all = append(all, input)
		}
	}
	return all
}
