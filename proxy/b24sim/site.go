package b24sim

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// block is the content of simulated files.
var block = bytes.Repeat([]byte("b24sim\x00\n"), 4<<10)

// maxFile is the longest simulated file.
const maxFile = 1 << 30

// renamed returns the address to which a renamed portal redirects the request, or
// "".
func (x *exchange) renamed() string {
	target, err := url.Parse(x.config.RenamedTo)
	if err != nil || target.Host == "" || strings.EqualFold(target.Host, x.r.Host) {
		return ""
	}
	return target.Scheme + "://" + target.Host + x.r.URL.RequestURI()
}

// site answers what is not below /rest/.
func (x *exchange) site() answer {
	path := "/" + strings.TrimLeft(x.r.URL.Path, "/")
	switch {
	case strings.TrimSuffix(path, "/") == "/oauth/token":
		return x.oauthToken()
	case strings.HasPrefix(path, "/disk/"), strings.HasPrefix(path, "/upload/"):
		x.params = parseForm(x.r.URL.RawQuery)
		x.noteSecrets()
		return x.file()
	case strings.HasPrefix(path, "/bitrix/services/"):
		return x.jsonOrXML(http.StatusOK, object("status", "success", "data", nil, "errors", list()))
	}
	return nginxPage(http.StatusNotFound)
}

// oauthToken issues tokens for any application that sends the parameters which
// the real server needs.
func (x *exchange) oauthToken() answer {
	x.params, _ = params(x.r, x.body, false)
	x.noteSecrets()
	grant := x.params.text("grant_type")
	proof := map[string]string{"authorization_code": "code", "refresh_token": "refresh_token"}[grant]
	if proof == "" || x.params.text(proof) == "" || x.params.text("client_id") == "" || x.params.text("client_secret") == "" {
		return x.jsonOrXML(http.StatusBadRequest,
			object("error", "invalid_request", "error_description", "The request is missing a required parameter"))
	}
	access, refresh := x.p.issue()
	base := "http://" + x.r.Host
	if x.r.TLS != nil {
		base = "https://" + x.r.Host
	}
	return x.jsonOrXML(http.StatusOK, object(
		"access_token", access,
		"expires_in", 3600,
		"scope", "app",
		"domain", x.r.Host,
		"server_endpoint", base+"/rest/",
		"status", "L",
		"client_endpoint", base+"/rest/",
		"member_id", "00000000000000000000000000000001",
		"refresh_token", refresh,
	))
}

// file answers a signed address: with a JSON file that looks like an error but is
// not one, or, with size=N in the query, with N bytes.
func (x *exchange) file() answer {
	size, err := strconv.Atoi(x.params.text("size"))
	if err != nil || size < 0 || size > maxFile {
		return answer{
			status:      http.StatusOK,
			contentType: "application/json",
			body:        []byte(`{"error":"QUERY_LIMIT_EXCEEDED","error_description":"text inside a downloaded file"}`),
		}
	}
	return answer{
		status:      http.StatusOK,
		contentType: "application/octet-stream",
		body:        block[:min(size, len(block))],
		repeat:      size,
	}
}
