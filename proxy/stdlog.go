package proxy

import (
	"bytes"
	"context"
	"log"
	"log/slog"

	"b24proxy/proxy/bitrix24"
)

// StdLog is a logger for what the standard library writes by itself. net/http
// quotes there what it cannot read of a portal's answer or of a request, so a
// line ends at its first quotation mark, and the rest is redacted.
func StdLog(to *slog.Logger, level slog.Level) *log.Logger {
	return log.New(stdLog{to, level}, "", 0)
}

type stdLog struct {
	to    *slog.Logger
	level slog.Level
}

func (s stdLog) Write(line []byte) (int, error) {
	text, _, _ := bytes.Cut(line, []byte{'\n'})
	text, _, quotes := bytes.Cut(text, []byte{'"'})
	message := bitrix24.Redact(string(bytes.TrimSpace(text)))
	if quotes {
		message += " (what it quotes is left out)"
	}
	s.to.Log(context.Background(), s.level, "net/http: "+message)
	return len(line), nil
}
