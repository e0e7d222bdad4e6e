package bitrix24

import "testing"

// A file is known by the header of its answer.
func TestFiles(t *testing.T) {
	tests := []struct {
		status                                 int
		disposition, contentRange, contentType string
		want                                   FileHint
	}{
		{200, "", "", "application/json; charset=utf-8", FileHintNo},
		{200, "", "", "Text/HTML", FileHintNo},
		{200, "", "", "text/xml", FileHintNo},
		{200, "", "", "text/javascript", FileHintMaybe},
		{200, "", "", "application/javascript", FileHintMaybe},
		{200, "", "", "application/problem+json", FileHintNo},
		{200, "", "", "", FileHintNo},
		{200, "", "", " ;charset=utf-8", FileHintNo},
		{200, "attachment; filename=a.html", "", "text/html", FileHintYes},
		{200, "inline", "", "application/json", FileHintYes},
		{206, "", "", "application/json", FileHintNo},
		{206, "", "bytes 0-9/99", "application/json", FileHintYes},
		{200, "", "", "image/jpeg", FileHintYes},
		{200, "", "", "image/svg+xml", FileHintYes},
		{200, "", "", "application/octet-stream", FileHintYes},
		{200, "", "", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", FileHintYes},
		{200, "", "", "text/plain", FileHintMaybe},
		{200, "attachment", "", "text/plain", FileHintYes},
		{404, "", "", "image/jpeg", FileHintMaybe},
		{404, "attachment", "", "application/json", FileHintMaybe},
		{404, "", "", "application/json", FileHintNo},
		{404, "", "", "text/plain", FileHintMaybe},
		{503, "attachment", "", "application/json", FileHintNo},
		{503, "", "", "image/png", FileHintNo},
		{500, "", "", "text/plain", FileHintNo},
	}
	for _, test := range tests {
		if got := FileHintOf(test.status, test.disposition, test.contentRange, test.contentType); got != test.want {
			t.Errorf("%d %q %q: got %d, want %d", test.status, test.disposition, test.contentType, got, test.want)
		}
	}
}
