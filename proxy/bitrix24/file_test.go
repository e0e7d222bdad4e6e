package bitrix24

import "testing"

// A file is known by the header of its answer.
func TestFiles(t *testing.T) {
	tests := []struct {
		status                                 int
		disposition, contentRange, contentType string
		want                                   Fileness
	}{
		{200, "", "", "application/json; charset=utf-8", NoFile},
		{200, "", "", "Text/HTML", NoFile},
		{200, "", "", "text/xml", NoFile},
		{200, "", "", "text/javascript", MayBeFile},
		{200, "", "", "application/javascript", MayBeFile},
		{200, "", "", "application/problem+json", NoFile},
		{200, "", "", "", NoFile},
		{200, "", "", " ;charset=utf-8", NoFile},
		{200, "attachment; filename=a.html", "", "text/html", File},
		{200, "inline", "", "application/json", File},
		{206, "", "", "application/json", NoFile},
		{206, "", "bytes 0-9/99", "application/json", File},
		{200, "", "", "image/jpeg", File},
		{200, "", "", "image/svg+xml", File},
		{200, "", "", "application/octet-stream", File},
		{200, "", "", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", File},
		{200, "", "", "text/plain", MayBeFile},
		{200, "attachment", "", "text/plain", File},
		{404, "", "", "image/jpeg", MayBeFile},
		{404, "attachment", "", "application/json", MayBeFile},
		{404, "", "", "application/json", NoFile},
		{404, "", "", "text/plain", MayBeFile},
		{503, "attachment", "", "application/json", NoFile},
		{503, "", "", "image/png", NoFile},
		{500, "", "", "text/plain", NoFile},
	}
	for _, test := range tests {
		if got := FileOf(test.status, test.disposition, test.contentRange, test.contentType); got != test.want {
			t.Errorf("%d %q %q: %d, want %d", test.status, test.disposition, test.contentType, got, test.want)
		}
	}
}
