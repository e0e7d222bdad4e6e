package bitrix24

import "strings"

// FileHint is whether the header of an answer announces a file.
type FileHint int

const (
	FileHintNo FileHint = iota
	FileHintMaybe
	FileHintYes // of a user, and not to be looked into
)

// FileHintOf reads what an answer's header says of its body: a disposition makes it
// a file, and so do a range of bytes and a media type that no answer of the API
// has. The address says nothing: a file may come from any, and an error too.
//
// Of failures only the body knows: a file where it names no error, but none at
// 5xx. Nor do plain text and scripts say what they are.
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
