package bitrix24

import (
	"regexp"
	"strings"
)

// mask stands where a secret was.
const mask = "***"

const (
	// slash separates segments: plain, doubled, escaped as PHP's json_encode
	// does it, or percent-encoded.
	slash = `(?:\\*/|%(?:25)*2f)+`
	// segment is what stands between slashes in an address within a text.
	segment = `[^\s/\\?#"'<>]`
)

var (
	slashes = regexp.MustCompile(`(?i)` + slash)

	// restPath finds /rest/ and what follows, also where a letter of it is
	// percent-encoded.
	restPath = regexp.MustCompile(`(?i)((?:^|` + slash + `)(?:r|%72|%52)(?:e|%65|%45)(?:s|%73|%53)(?:t|%74|%54)` + slash + `)` +
		`(` + segment + `+(?:` + slash + segment + `*)*)`)

	// parameter finds name=value as in queries and forms.
	parameter = regexp.MustCompile(`([^\s?&#;"'<>=]+)=([^\s&#;"'<>]+)`)

	// member finds "name": "value" as in JSON, also in JSON within a string.
	member = regexp.MustCompile(`(?i)(\\*"(?:` + secretNames + `)\\*"\s*:\s*\\*")((?:[^"\\]|\\[^"])+)`)

	authorization = regexp.MustCompile(`(?i)\b(bearer|basic)(\s+|%20|\+)[^\s"',;&]+`)
	userinfo      = regexp.MustCompile(`(//)[^\s/?#"'<>@]+@`)
)

// secretNames are the parameters that hold tokens and keys.
const secretNames = `auth|access_token|token|refresh_token|client_secret|application_token|auth_id|refresh_id`

var secretName = regexp.MustCompile(`(?i)^(?:` + secretNames + `)(?:\[.*)?$`)

// Redact returns an address, or a text with addresses in it, fit for a log:
// instead of webhook codes, tokens, client secrets, authorization headers and
// userinfo it has "***". It errs on the side of masking too much.
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

// redactPath masks, after /rest/ or /rest/api/, the user of a webhook unless it
// is a number, its code, and whatever does not look like a method.
func redactPath(address string) string {
	groups := restPath.FindStringSubmatch(address)
	segments := slashes.Split(groups[2], -1)
	call := segments
	if strings.EqualFold(unescape(call[0]), "api") {
		call = call[1:]
	}
	webhook := len(call) > 1 && call[1] != ""
	dots := strings.Contains("/"+unescape(groups[2]), "/.") // the code may stand anywhere
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
