package proxy

// hostileTargets are request targets that are no paths, and requests that name several
// portals.
func hostileTargets() (all []hostile) {
	const (
		ok    = "503 PORTAL_UNREACHABLE"
		acme  = "acme.bitrix24.com:443"
		other = "other.bitrix24.com:443"
	)
	add := func(what, want, dialled, target string, lines ...string) {
		if len(lines) == 0 {
			lines = []string{"Host: other.bitrix24.com"}
		}
		all = append(all, hostile{what, request("GET", target, "HTTP/1.1", lines...), want, dialled})
	}
	add("another scheme", notNamed, "", "ftp://acme.bitrix24.com"+hookPath)
	add("a file", notNamed, "", "file:///etc/passwd")
	add("a script", notNamed, "", "javascript:alert(1)")
	add("data", notNamed, "", "data:text/plain,hello")
	add("a scheme without slashes", refusedName, "", "https:acme.bitrix24.com"+hookPath)
	add("a scheme with one slash", refusedName, "", "https:/acme.bitrix24.com"+hookPath)
	add("a scheme with three slashes", refusedName, "", "https:///acme.bitrix24.com"+hookPath)
	add("a scheme alone", refusedName, "", "https://")
	add("a scheme in capitals", ok, acme, "HTTPS://acme.bitrix24.com"+hookPath)
	add("no scheme and two slashes", ok, acme, "//acme.bitrix24.com"+hookPath)
	add("no scheme and a foreign host", refusedName, "", "//evil.example"+hookPath)
	add("backslashes for slashes", notRead, "", `\\acme.bitrix24.com\rest\profile`)
	add("backslashes after a scheme", refusedName, "", `https:\\acme.bitrix24.com\rest\profile`)
	add("a backslash before a foreign host", notRead, "", `http://evil.example\@acme.bitrix24.com`+hookPath)
	add("a portal as the user", refusedName, "", "https://acme.bitrix24.com@evil.example"+hookPath)
	add("a portal and its port as the user", refusedName, "", "https://acme.bitrix24.com:443@evil.example"+hookPath)
	add("a portal as the user, encoded", notRead, "", "https://acme.bitrix24.com%40evil.example"+hookPath)
	add("a portal in a fragment", notRead, "", "https://evil.example#@acme.bitrix24.com"+hookPath)
	add("a portal in a query", refusedName, "", "https://evil.example?@acme.bitrix24.com"+hookPath)
	add("a foreign host in a fragment", notRead, "", "https://acme.bitrix24.com#@evil.example"+hookPath)
	add("a portal as the path of a foreign host", refusedName, "", "https://evil.example/acme.bitrix24.com"+hookPath)
	add("an address of cloud metadata", refusedName, "", "http://169.254.169.254/latest/meta-data/")
	add("an address of this machine", refusedName, "", "http://127.0.0.1:8081/metrics")
	add("a socket", notNamed, "", "unix:/var/run/docker.sock")
	add("a target that is the server", notNamed, "", "*")
	add("a target without a slash", notRead, "", "rest/1/x/profile")
	add("an authority without CONNECT", notNamed, "", "acme.bitrix24.com:443")
	add("an empty target", notRead, "", "")
	add("an escaped line end in the path", ok, other, "/rest/1/x/profile%0d%0aHost:%20evil.example")
	add("an escape that is none", notRead, "", "/rest/1/x/%zz")
	add("a fragment in a path", ok, other, "/rest/1/x/profile#fragment")
	add("dots in the path after a foreign host", refusedName, "", "/evil.example/../rest/1/x/profile")
	add("an escaped slash after a portal", ok, other, "/acme.bitrix24.com%2frest/1/x/profile")

	add("two hosts", notRead, "", hookPath, "Host: acme.bitrix24.com", "Host: evil.example")
	add("two hosts that agree", notRead, "", hookPath, "Host: acme.bitrix24.com", "Host: acme.bitrix24.com")
	add("two hosts, the second folded", notRead, "", hookPath, "Host: acme.bitrix24.com", " Host: evil.example")
	add("an empty Host", notNamed, "", hookPath, "Host: ")
	add("two portals in the header", refusedName, "", hookPath, "Host: other.bitrix24.com", "B24-Portal: acme.bitrix24.com", "B24-Portal: evil.example")
	add("the header before the Host", ok, acme, hookPath, "Host: other.bitrix24.com", "B24-Portal: acme.bitrix24.com")
	add("a foreign header before a good Host", refusedName, "", hookPath, "Host: other.bitrix24.com", "B24-Portal: evil.example")
	add("a good header before a foreign Host", ok, acme, hookPath, "Host: evil.example", "B24-Portal: acme.bitrix24.com")
	add("a good target before a foreign header and Host", ok, acme, "http://acme.bitrix24.com"+hookPath, "Host: evil.example", "B24-Portal: evil.example")
	add("a foreign target before a good header and Host", refusedName, "", "http://evil.example"+hookPath, "Host: other.bitrix24.com", "B24-Portal: acme.bitrix24.com")
	add("a good path before a foreign Host", ok, acme, "/acme.bitrix24.com"+hookPath, "Host: evil.example")
	add("a good header before a foreign path", ok, acme, "/evil.example"+hookPath, "Host: other.bitrix24.com", "B24-Portal: acme.bitrix24.com")
	add("a foreign path before a good Host", refusedName, "", "/evil.example"+hookPath, "Host: acme.bitrix24.com")
	add("a portal in a header that others read", refusedName, "", hookPath, "Host: evil.example", "X-Forwarded-Host: acme.bitrix24.com", "Forwarded: host=acme.bitrix24.com", "X-Original-URL: https://acme.bitrix24.com/")
	return all
}
