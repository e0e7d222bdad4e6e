package bitrix24

import (
	"regexp"
	"strings"
)

// mask replaces a secret.
const mask = "***"

const (
	// slash separates segments: plain, doubled, escaped as PHP's json_encode
	// does it, or percent-encoded.
	slash = `(?:\\*/|%(?:25)*2f)+`
	// segment is what an address within a text has between its slashes.
	segment = `[^\s/\\?#"'<>]`
)

var (
	slashes = regexp.MustCompile(`(?i)` + slash)

	// restPath finds /rest/ and what follows, even if letters of rest are
	// percent-encoded.
	restPath = regexp.MustCompile(`(?i)((?:^|` + slash + `)(?:r|%72|%52)(?:e|%65|%45)(?:s|%73|%53)(?:t|%74|%54)` + slash + `)` +
		`(` + segment + `+(?:` + slash + segment + `*)*)`)

	// parameter finds name=value, as in queries and forms.
	parameter = regexp.MustCompile(`([^\s?&#;"'<>=]+)=([^\s&#;"'<>]+)`)

	// member finds "name": "value", as in JSON and in JSON within a string.
	member = regexp.MustCompile(`(?i)(\\*"(?:` + secretNames + `)\\*"\s*:\s*\\*")((?:[^"\\]|\\[^"])+)`)

	authorization = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+|%20|\+)[^\s"',;&]+`)
	userinfo      = regexp.MustCompile(`(//)[^\s/?#"'<>@]+@`)
)

// secretNames are the parameters that contain tokens and keys
// (README.md#credentials).
const secretNames = `auth|access_token|token|refresh_token|client_secret|application_token|auth_id|refresh_id`

var secretName = regexp.MustCompile(`(?i)^(?:` + secretNames + `)(?:\[.*)?$`)

// Redact makes an address, or a text with addresses in it, fit for a log: it
// replaces webhook codes, tokens, client secrets, authorization headers and
// userinfo by "***". When in doubt it masks too much.
func Redact(s string) string {
	s = userinfo.ReplaceAllString(s, "${1}"+mask+"@")
	s = authorization.ReplaceAllString(s, "${1} "+mask)
	s = member.ReplaceAllString(s, "${1}"+mask)
	s = parameter.ReplaceAllStringFunc(s, redactParameter)
	return restPath.ReplaceAllStringFunc(s, redactPath)
}

func redactParameter(part string) string {
	name, _, _ := strings.Cut(part, "=")
	if secretName.MatchString(unescape(name)) {
		return name + "=" + mask
	}
	return part
}

// redactPath masks what follows /rest/ or /rest/api/ and is not a number in the
// place of a webhook's user, or the name of a method.
func redactPath(address string) string {
	groups := restPath.FindStringSubmatch(address)
	segments := slashes.Split(groups[2], -1)
	call := segments
	if strings.EqualFold(unescape(call[0]), "api") {
		call = call[1:]
	}
	webhook := len(call) > 1 && call[1] != ""
	dots := strings.Contains("/"+unescape(groups[2]), "/.") // then the code may be in any segment
	for i, s := range call {
		var harmless bool
		switch {
		case webhook && i == 0:
			harmless = strings.Trim(s, "0123456789") == ""
		case webhook && i == 1:
		default:
			harmless = s == "" || !dots && looksLikeMethod(withoutFormat(s))
		}
		if !harmless {
			call[i] = mask
		}
	}
	return groups[1] + strings.Join(segments, "/")
}
