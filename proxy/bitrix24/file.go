package bitrix24

import "strings"

// FileHint says whether the header of an answer announces a file.
type FileHint int

const (
	FileHintNo FileHint = iota
	FileHintMaybe
	FileHintYes
)

// FileHintOf returns what the header of an answer says about its body. It is a
// file if it has a disposition, a range of bytes, or a media type that no answer
// of the API has. The address says nothing about it: files and errors come from
// the same addresses (README.md#addresses).
//
// At 4xx, and for plain text and scripts, only the body shows whether it is a
// file. At 5xx it never is.
func FileHintOf(status int, disposition, contentRange, contentType string) FileHint {
	announced := disposition != "" || contentRange != ""
	switch kind := mediaKind(contentType); {
	case status >= 500 || !announced && kind == ofAPI:
		return FileHintNo
	case status >= 400 || !announced && kind == ofText:
		return FileHintMaybe
	}
	return FileHintYes
}

const (
	ofAPI = iota
	ofText
	ofFile
)

func mediaKind(contentType string) int {
	mediaType, _, _ := strings.Cut(contentType, ";")
	switch mediaType = strings.ToLower(strings.TrimSpace(mediaType)); mediaType {
	case "", "text/json", "application/json",
		"text/html", "application/xhtml+xml", "text/xml", "application/xml":
		return ofAPI
	case "text/plain", "text/javascript", "application/javascript", "application/x-javascript":
		return ofText
	}
	if strings.HasSuffix(mediaType, "+json") {
		return ofAPI
	}
	return ofFile
}
